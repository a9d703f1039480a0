"""Small arrays on their way to the device: a ring of page-locked slots that is never overwritten too early."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from required import unavailable

from texvlm.backends.cuda.upload import SLOTS, Upload
from texvlm.errors import BackendUnavailable


@pytest.fixture
def driver():
    """A device on which queued copies happen as late as they may."""
    try:
        opened, _ = open_host_device(late_streams=True)
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
    yield opened
    assert opened.leaks() == []
    assert opened.violations == []


def names(driver) -> list[str]:
    return [name for name, _ in driver.calls]


def test_arrays_arrive_though_slots_are_used_again(driver, rng):
    stream, upload = driver.create_stream(), Upload(driver)
    sent = [rng.integers(0, 2**31, size, dtype=np.int32) for size in rng.integers(1, 5000, 3 * SLOTS)]
    got = [upload.send(data, stream).view(torch.int32) for data in sent]
    driver.synchronize(stream)
    for tensor, data in zip(got, sent, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), data)
    upload.close()
    driver.destroy_stream(stream)


def test_the_host_waits_only_when_it_is_a_ring_ahead(driver):
    stream, upload = driver.create_stream(), Upload(driver)
    kept = [upload.send(np.arange(9), stream) for _ in range(SLOTS)]
    assert "wait_on_host" not in names(driver)
    kept.append(upload.send(np.arange(9), stream))
    assert names(driver).count("wait_on_host") == 1
    driver.synchronize(stream)
    kept.append(upload.send(np.arange(9), stream))
    assert names(driver).count("wait_on_host") == 1  # the slot was free
    upload.close()
    driver.destroy_stream(stream)


def test_nothing_is_queued_for_an_empty_array(driver):
    upload = Upload(driver)
    assert upload.send(np.zeros(0, np.int32), 0).numel() == 0
    assert names(driver).count("copy") == 0
    upload.close()


@pytest.mark.parametrize("call", ["create_event", "allocate_pinned", "copy", "record"])
def test_a_call_that_fails_leaves_nothing_behind(driver, call):
    upload = Upload(driver)
    driver.fail(call)
    with pytest.raises(Exception, match=call):
        upload.send(np.arange(9), 0)
    np.testing.assert_array_equal(upload.send(np.arange(9), 0).view(torch.int64).numpy(), np.arange(9))
    upload.close()
    upload.close()
