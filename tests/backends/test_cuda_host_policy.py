"""Where frames from host memory are compared: decided by bytes and rates that are given here, never by a clock."""

from __future__ import annotations

import json
from dataclasses import astuple

import numpy as np
import pytest
from conftest import unavailable
from cuda_device import open_host_device
from cuda_host.driver import HostDriver

from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.host_policy import CLEARLY, DECIDE_EVERY, HostPolicy, LayerRecord, Rates, measure_rates
from texvlm.backends.cuda.opening import open_cuda
from texvlm.errors import BackendUnavailable, DeviceCallError

GB = 1e9
SLOW_COPY = Rates(compare=20 * GB, copy=8 * GB, bus=50 * GB)
"""A server: its bus is faster than one core copies."""
SLOW_BUS = Rates(compare=20 * GB, copy=20 * GB, bus=3 * GB)
"""A laptop, or a card on a few lanes."""
SIZE = 1920 * 1080 * 3


@pytest.fixture
def driver() -> HostDriver:
    try:
        return open_host_device()[0]
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
        raise


def decide(rates: Rates, driver: HostDriver, share: float, *, pinned: bool = False) -> str:
    policy, record = HostPolicy(measure=lambda _: rates), LayerRecord(share=share)
    return policy.choose(record, driver, size=SIZE, is_pinned=lambda: pinned)


@pytest.mark.parametrize(
    ("rates", "share", "pinned", "side"),
    [
        (SLOW_COPY, 0.0, False, "host"),  # 1/20 against 1/8
        (SLOW_COPY, 0.2, False, "host"),  # 1/20 + 0.2 * (2/8 + 1/50) = 0.104 against 0.125
        (SLOW_COPY, 0.5, False, "device"),  # 0.185 against 0.125
        (SLOW_COPY, 0.0, True, "device"),  # 0.05 against 1/50: page-locked frames need no copy
        (SLOW_BUS, 0.0, True, "host"),  # 0.05 against 1/3
        (SLOW_BUS, 0.5, True, "host"),  # 0.05 + 0.5 * (0.1 + 0.333) = 0.267 against 0.333
        (SLOW_BUS, 0.9, False, "device"),  # 0.44 against 0.333
    ],
)
def test_the_cheaper_side_is_taken(driver, rates, share, pinned, side):
    assert decide(rates, driver, share, pinned=pinned) == side


def test_the_estimate_in_numbers():
    rates = Rates(compare=10.0, copy=4.0, bus=5.0)
    assert rates.seconds_on_device(100, pinned=False) == 25  # the copy is slower than the bus
    assert rates.seconds_on_device(100, pinned=True) == 20
    assert rates.seconds_on_host(100, share=0) == 10
    assert rates.seconds_on_host(100, share=0.5) == pytest.approx(10 + 50 * (2 / 4 + 1 / 5))


def test_a_decision_stands_and_is_given_up_only_for_a_clearly_cheaper_one(driver):
    policy, record = HostPolicy(measure=lambda _: SLOW_COPY), LayerRecord()

    def choose(count: int) -> list[str]:
        return [policy.choose(record, driver, size=SIZE, is_pinned=lambda: False) for _ in range(count)]

    assert set(choose(DECIDE_EVERY)) == {"host"}
    record.share = 1.0  # everything moves now
    assert choose(DECIDE_EVERY) == ["device"] * DECIDE_EVERY
    record.share = 0.25  # the host would cost 0.94 of it: not worth a read-back
    assert SLOW_COPY.seconds_on_host(SIZE, share=0.25) > CLEARLY * SLOW_COPY.seconds_on_device(SIZE, pinned=False)
    assert set(choose(5 * DECIDE_EVERY)) == {"device"}
    record.share = 0.01
    assert set(choose(DECIDE_EVERY)) == {"host"}


def test_it_changes_its_mind_at_most_once_in_so_many_frames(driver, rng):
    policy, record = HostPolicy(measure=lambda _: SLOW_COPY), LayerRecord()
    sides = []
    for share in rng.integers(0, 2, 40 * DECIDE_EVERY):
        record.share = float(share)  # the worst source: still, all of it moves, still, ...
        sides.append(policy.choose(record, driver, size=SIZE, is_pinned=lambda: False))
    changes = np.flatnonzero(np.array(sides[1:]) != np.array(sides[:-1])) + 1
    assert len(changes) > 1
    assert (np.diff(changes) >= DECIDE_EVERY).all()


def test_frames_of_another_size_are_decided_anew(driver):
    policy, record = HostPolicy(measure=lambda _: SLOW_COPY), LayerRecord(share=0)
    assert policy.choose(record, driver, size=SIZE, is_pinned=lambda: False) == "host"
    assert policy.choose(record, driver, size=SIZE, is_pinned=lambda: True) == "host"  # as decided
    assert policy.choose(record, driver, size=SIZE // 2, is_pinned=lambda: True) == "device"


def test_the_running_share_forgets():
    record = LayerRecord(share=0.0)
    for _ in range(10):
        record.note(1.0)
    assert 0.6 < record.share < 0.7
    for _ in range(100):
        record.note(0.25)
    assert record.share == pytest.approx(0.25, abs=1e-3)


def test_what_is_asked_for_is_not_measured(driver):
    def never(_: object) -> Rates:
        raise AssertionError("measured")

    for side in ("host", "device"):
        policy, record = HostPolicy(side, measure=never), LayerRecord()
        assert policy.choose(record, driver, size=SIZE, is_pinned=lambda: False) == side
        assert policy.describe() == {"detection": side, "rates_gb_s": None}


def test_rates_are_measured_once(driver):
    measured = []
    policy = HostPolicy(measure=lambda device: measured.append(device) or SLOW_BUS)
    for _ in range(3 * DECIDE_EVERY):
        policy.choose(LayerRecord(), driver, size=SIZE, is_pinned=lambda: False)
    assert measured == [driver]
    assert json.loads(json.dumps(policy.describe())) == {
        "detection": "auto",
        "rates_gb_s": {"compare": 20, "copy": 20, "bus": 3},
    }


def test_other_words_are_refused():
    words = r"^detect_host_frames is 'gpu'; accepted: 'auto', 'host', 'device'$"
    with pytest.raises(ValueError, match=words):
        open_cuda(detect_host_frames="gpu")  # before anything is opened
    device, compiler = open_host_device()
    with pytest.raises(ValueError, match=words):
        CudaBackend(device, compiler, detect_host_frames="gpu")
    assert device.leaks() == []


# ---------------------------------------------------------------- measuring


def test_rates_of_this_machine_are_numbers_and_leave_nothing_behind(driver):
    rates = measure_rates(driver)
    assert all(0 < rate < float("inf") for rate in astuple(rates))
    assert driver.leaks() == []
    assert driver.violations == []


ONCE = [(call, 1) for call in ("allocate_pinned", "create_stream", "synchronize")]
TWICE = [(call, nth) for call in ("create_event", "record", "copy", "wait_on_host", "elapsed_ms") for nth in (1, 2)]


@pytest.mark.parametrize(("call", "nth"), ONCE + TWICE)
def test_measuring_that_fails_leaves_nothing_behind(driver, call, nth):
    driver.fail(call, nth)
    with pytest.raises((DeviceCallError, MemoryError), match="failure asked for"):
        measure_rates(driver)
    assert driver.leaks() == []
    assert driver.violations == []
