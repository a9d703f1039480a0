"""Threads of the emulation: barriers, warp calls, and that every misuse is an error."""

from __future__ import annotations

import numpy as np
import pytest

from cuda_host.program import Launcher
from texvlm.errors import DeviceCallError

WARPS = [("results", "u8"), ("skip", "i4"), ("unused", "i4")]
BARRIERS = [("row", "u8"), ("counts", "u8"), ("total", "u8"), ("unused", "i8")]
MISUSE = [("target", "u8"), ("surface", "u8"), ("texture", "u8"), ("mode", "i4"), ("unused", "i4")]
POISON = int(np.array([0xFFF5A5A5], np.uint32).view(np.int32)[0])


def warp_rows(bench, skip: int) -> np.ndarray:
    results = np.zeros((96, 8), np.int32)
    bench.run("warps.cu", WARPS, results.ctypes.data, skip, 0, block=(96, 1, 1))
    return results


@pytest.mark.parametrize("backwards", [False, True])
def test_warp_calls_give_what_the_guide_says(open_bench, backwards):
    bench = open_bench(backwards=backwards)
    rows = warp_rows(bench, skip=-1)
    me = np.arange(96)
    lane, group = me % 32, me // 8 * 8
    np.testing.assert_array_equal(rows[:, 0], me ^ 5)
    np.testing.assert_array_equal(rows[:, 1], np.where(me % 8 < 5, me + 3, me))  # beyond the group of 8: itself
    np.testing.assert_array_equal(rows[:, 2], np.where(me % 8 > 2, me - 3, me))
    np.testing.assert_array_equal(rows[:, 3], group + 1)  # lane 9 modulo the width of 8
    assert (rows[:, 4].view(np.uint32) == sum(1 << k for k in range(0, 32, 3))).all()
    assert (rows[:, 5] == 2).all()  # lane 7 is there; lane 31 fails the second
    np.testing.assert_array_equal(rows[:, 6], np.where(lane < 16, lane ^ 1, 0))
    assert (rows[:, 7] == 3 * 496 + 0 + 1 + 2).all()


def test_a_lane_that_has_ended_is_not_waited_for_and_reads_as_poison(bench):
    rows = warp_rows(bench, skip=4)
    assert (rows[4] == 0).all()
    assert rows[1, 0] == POISON  # 1 ^ 5 = 4
    assert rows[2, 0] == 7
    assert rows[0, 4] & 1 << 4 == 0


@pytest.mark.parametrize("backwards", [False, True])
def test_barriers_and_shared_memory(open_bench, backwards):
    bench = open_bench(backwards=backwards)
    row = np.arange(30 * 6, dtype=np.int32)
    counts, total = np.zeros((6, 4), np.int32), np.zeros(1, np.int32)
    addresses = (row.ctypes.data, counts.ctypes.data, total.ctypes.data)
    bench.run("barriers.cu", BARRIERS, *addresses, 0, grid=(3, 1, 2), block=(5, 2, 3))
    np.testing.assert_array_equal(row.reshape(6, 30), np.arange(180).reshape(6, 30)[:, ::-1])
    assert counts[:, :3].tolist() == [[8, 1, 0]] * 6
    assert (counts[:, 3] == -1).all()  # no block sees what another left
    assert total[0] == 6 * 435


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (1, "thread 7: divergent barrier: __syncthreads_or in line .* wait in __syncthreads in line"),
        (2, "deadlock: 0 of 32 threads have ended.*7 wait in __syncthreads, .*25 wait in __syncwarp"),
        (3, "lane 1 is not in its own mask 0x1"),
        (4, "divergent warp: __ballot_sync with mask 0xfffffff0 .*, but lane 4 .* mask 0xffffffff"),
        (5, "width 12"),
        (6, r"address that is not mapped.*misuse.cu:\d"),
        (7, r"stack overflow .*misuse.cu:\d"),
        (8, r"division by zero \(misuse.cu:\d"),
        (17, r"array index out of bounds.*misuse.cu:\d"),
        (18, r"array index out of bounds.*misuse.cu:\d"),
    ],
)
def test_misuse_of_threads_is_an_error(bench, mode, said):
    bench.expects_violations = True
    target = np.zeros(1, np.int32)
    with pytest.raises(DeviceCallError, match=f"misuse, block .*{said}"):
        bench.run("misuse.cu", MISUSE, target.ctypes.data, 0, 0, mode, 0, block=(32, 1, 1))
    bench.run("misuse.cu", MISUSE, target.ctypes.data, 0, 0, 0, 0, block=(32, 1, 1))  # the next launch is well
    assert len(bench.driver.violations) == 1


def test_the_order_of_threads_shows_where_a_barrier_is_missing(open_bench):
    """Each thread reads what its left neighbour wrote, with no barrier between: mode 19."""
    found = []
    for backwards in (False, True):
        bench = open_bench(backwards=backwards)
        target = np.full(32, -5, np.int32)
        bench.run("misuse.cu", MISUSE, target.ctypes.data, 0, 0, 19, 0, block=(32, 1, 1))
        found.append(target.tolist())
    assert found[0] == [-1, *range(31)]
    assert found[1] == [-1] * 32  # nothing was there yet


@pytest.mark.parametrize(
    ("grid", "block"),
    [((1, 1, 1), (97, 1, 1)), ((0, 1, 1), (1, 1, 1)), ((1, 65536, 1), (1, 1, 1)), ((1, 1, 1), (1, 1, 65))],
)
def test_shapes_that_no_device_launches_are_refused(bench, grid, block):
    bench.expects_violations = True
    results = np.zeros((96, 8), np.int32)
    with pytest.raises(DeviceCallError, match="the limit is"):
        bench.run("warps.cu", WARPS, results.ctypes.data, -1, 0, grid=grid, block=block)
    assert not results.any()


def test_a_thread_that_never_waits_needs_no_stack_of_its_own(bench):
    before = sum(stack is not None for stack in Launcher._stacks)
    target = np.zeros(1, np.int32)
    bench.run("misuse.cu", MISUSE, target.ctypes.data, 0, 0, 0, 0, grid=(5, 1, 1), block=(1024, 1, 1))
    assert sum(stack is not None for stack in Launcher._stacks) <= max(before, 1)
