"""Streams, events, capture and graphs of the emulated device."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.errors import DeviceCallError

ADD = [("target", "u8"), ("source", "u8"), ("count", "i4"), ("a", "i4"), ("b", "i4"), ("unused", "i4")]


def add(bench, target: np.ndarray, source: np.ndarray, a: int, b: int, stream: int = 0) -> None:
    """target = a * source + b, by a kernel."""
    bench.run(
        "add.cu", ADD, target.ctypes.data, source.ctypes.data, len(target), a, b, 0, block=(64, 1, 1), stream=stream
    )


@pytest.fixture
def numbers() -> np.ndarray:
    return np.arange(40, dtype=np.int32)


@pytest.fixture
def stream(bench):
    created = bench.driver.create_stream()
    yield created
    bench.driver.destroy_stream(created)


@pytest.fixture
def captured(bench, stream, numbers):
    """A graph of (copy numbers to a, b = 2 a + 1, a = b + 0), its arrays and nodes."""
    driver, a, b = bench.driver, np.zeros_like(numbers), np.zeros_like(numbers)
    add(bench, a, a, 1, 0)  # compiled before: programs are not loaded while capturing
    driver.begin_capture(stream)
    assert driver.is_capturing(stream)
    driver.copy(a.ctypes.data, numbers.ctypes.data, a.nbytes, stream)
    add(bench, b, a, 2, 1, stream)
    add(bench, a, b, 1, 0, stream)
    graph = driver.end_capture(stream)
    assert not driver.is_capturing(stream)
    yield graph, a, b
    if f"graph {graph:#x}" in driver.leaks():
        driver.destroy_graph(graph)


def test_capture_records_and_replays(bench, stream, captured, numbers):
    driver, (graph, a, b) = bench.driver, captured
    assert not a.any()
    assert not b.any()
    executable = driver.instantiate(graph)
    driver.destroy_graph(graph)  # the executable lives on
    driver.launch_graph(executable, stream)
    np.testing.assert_array_equal(a, 2 * numbers + 1)
    numbers += 100  # copies keep addresses, not contents
    driver.launch_graph(executable, stream)
    np.testing.assert_array_equal(b, 2 * numbers + 1)
    driver.destroy_executable(executable)


def test_arguments_of_a_node_can_be_changed(bench, stream, captured, numbers):
    driver, (graph, a, b) = bench.driver, captured
    first, second = driver.kernel_nodes(graph)
    executable = driver.instantiate(graph)
    kernel = bench.kernels.get("add.cu", (), np.dtype(ADD)).handle
    other = np.array([(b.ctypes.data, a.ctypes.data, len(a), 5, 7, 0)], ADD)
    driver.set_arguments(executable, first, kernel, (1, 1, 1), (64, 1, 1), other.ctypes.data)
    other[:] = 0  # read before the call returned
    driver.launch_graph(executable, stream)
    np.testing.assert_array_equal(a, 5 * numbers + 7)
    fresh = driver.instantiate(graph)  # the graph itself did not change
    driver.launch_graph(fresh, stream)
    np.testing.assert_array_equal(a, 2 * numbers + 1)
    driver.destroy_graph(graph)
    bench.expects_violations = True
    with pytest.raises(DeviceCallError, match=r"node .* does not exist any more"):
        driver.set_arguments(executable, second, kernel, (1, 1, 1), (64, 1, 1), other.ctypes.data)
    for made in (executable, fresh):
        driver.destroy_executable(made)


@pytest.mark.parametrize(
    "call",
    [
        lambda d, event, s: d.synchronize(s),
        lambda d, event, s: d.is_done(event),
        lambda d, event, s: d.wait_on_host(event),
        lambda d, event, s: d.allocate_pinned(16),
        lambda d, event, s: d.create_array((16, 16), 1, 5, 4, "uint8"),
        lambda d, event, s: d.map_gl([1], s),
        lambda d, event, s: d.unmap_gl([1], s),
    ],
)
def test_calls_that_a_capturing_thread_may_not_make(bench, stream, call):
    bench.expects_violations = True
    driver = bench.driver
    event = driver.create_event()
    driver.begin_capture(stream)
    with pytest.raises(DeviceCallError, match="code 900"):
        call(driver, event, stream)
    driver.destroy_graph(driver.end_capture(stream))
    driver.destroy_event(event)


def test_capture_has_rules_of_its_own(bench, stream):
    bench.expects_violations = True
    driver = bench.driver
    with pytest.raises(DeviceCallError, match="legacy default stream"):
        driver.begin_capture(0)
    with pytest.raises(DeviceCallError, match="no capture began"):
        driver.end_capture(stream)
    event = driver.create_event()
    driver.record(event, 0)
    driver.begin_capture(stream)
    with pytest.raises(DeviceCallError, match="capturing already"):
        driver.begin_capture(stream)
    with pytest.raises(DeviceCallError, match="outside the capture"):
        driver.wait(stream, event)
    driver.destroy_graph(driver.end_capture(stream))
    driver.destroy_event(event)


def test_other_streams_join_a_capture_through_events(bench, stream, numbers):
    driver, other, target = bench.driver, bench.driver.create_stream(), np.zeros(40, np.int32)
    event = driver.create_event()
    driver.begin_capture(stream)
    driver.record(event, stream)
    driver.wait(other, event)
    assert driver.is_capturing(other)
    driver.copy(target.ctypes.data, numbers.ctypes.data, target.nbytes, other)
    driver.record(event, other)
    driver.wait(stream, event)
    graph = driver.end_capture(stream)
    assert not driver.is_capturing(other)
    executable = driver.instantiate(graph)
    driver.launch_graph(executable, 0)
    np.testing.assert_array_equal(target, numbers)

    bench.expects_violations = True
    driver.begin_capture(stream)
    driver.record(event, stream)
    driver.wait(other, event)
    with pytest.raises(DeviceCallError, match="not joined back"):
        driver.end_capture(stream)
    driver.destroy_graph(graph)
    driver.destroy_executable(executable)
    driver.destroy_event(event)
    driver.destroy_stream(other)


def test_late_streams_run_only_what_was_waited_for(open_bench, numbers):
    bench = open_bench(late_streams=True)
    driver, side = bench.driver, bench.driver.create_stream()
    first, second = np.zeros(40, np.int32), np.zeros(40, np.int32)
    event = driver.create_event()
    assert driver.is_done(event)  # never recorded
    driver.copy(first.ctypes.data, numbers.ctypes.data, first.nbytes, side)
    driver.record(event, side)
    driver.copy(second.ctypes.data, numbers.ctypes.data, second.nbytes, side)
    assert not driver.is_done(event)
    assert not first.any()
    driver.wait(0, event)
    assert driver.is_done(event)
    np.testing.assert_array_equal(first, numbers)
    assert not second.any()
    driver.synchronize(side)
    np.testing.assert_array_equal(second, numbers)
    driver.destroy_event(event)
    driver.destroy_stream(side)


def test_late_streams_show_pinned_memory_that_is_freed_too_early(open_bench):
    bench = open_bench(late_streams=True)
    driver, side, target = bench.driver, bench.driver.create_stream(), np.zeros(16, np.uint8)
    address = driver.allocate_pinned(16)
    driver.copy(target.ctypes.data, address, 16, side)
    bench.expects_violations = True
    with pytest.raises(DeviceCallError, match="a queued copy still uses"):
        driver.free_pinned(address)
    driver.synchronize(side)
    driver.free_pinned(address)
    driver.destroy_stream(side)


def test_kernels_of_an_unloaded_program_cannot_be_launched(bench, numbers):
    add(bench, numbers, numbers, 1, 1)
    kernel = bench.kernels.get("add.cu", (), np.dtype(ADD))
    bench.kernels.close()
    bench.expects_violations = True
    with pytest.raises(DeviceCallError, match=r"kernel .* does not exist any more"):
        kernel.launch((1, 1, 1), (1, 1, 1), np.zeros(1, ADD), 0)


def test_events_keep_time_where_asked_to(bench):
    driver = bench.driver
    start, stop, plain = driver.create_event(timing=True), driver.create_event(timing=True), driver.create_event()
    for event in (start, stop, plain):
        driver.record(event, 0)
    assert driver.elapsed_ms(start, stop) >= 0
    bench.expects_violations = True
    with pytest.raises(DeviceCallError, match="must keep time"):
        driver.elapsed_ms(start, plain)
    for event in (start, stop, plain):
        driver.destroy_event(event)


def test_the_current_stream_can_be_another(bench, stream):
    assert bench.driver.current_stream() == 0
    with bench.driver.use_stream(stream):
        assert bench.driver.current_stream() == stream
    assert bench.driver.current_stream() == 0
