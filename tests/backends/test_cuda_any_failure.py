"""Any call to the device may fail, from opening to closing: the error is raised, and nothing is left on the device."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from cuda_host.compiler import HostCompiler
from cuda_host.driver import HostDriver

from texvlm import Engine
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.host_policy import HostDetection

MOST_OF_A_CALL = 6
"""Of a call that is made more often, so many are let fail: first, last, and between."""


def everything(driver: HostDriver, compiler: HostCompiler, detection: HostDetection) -> None:
    """Frames from the host and on the device, tokens, blocks, captured frames, one left open, and a larger frame."""
    frame = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    there, gaze = torch.from_numpy(frame.copy()), torch.tensor([[0.5, 0.5]])
    backend = CudaBackend(driver, compiler, detect_host_frames=detection)
    try:
        with Engine(backend=backend, tokens=10, threshold=0, timing=True) as engine:
            engine.submit(frame)
            engine.tokens()
            blocks = engine.block_memory()
            blocks.match()
            engine.submit(255 - frame)
            blocks.match()
            engine.submit(there)
            engine.tokens(gaze)
            with engine.capture(there, gaze) as graph:
                graph.replay(255 - there)
            engine.capture(there, gaze)
            engine.submit(np.zeros((100, 100, 3), np.uint8))
            engine.tokens()
            engine.read_level(0)
    finally:
        backend.close()


@pytest.mark.parametrize("detection", ["host", "device"])
def test_any_call_may_fail_and_nothing_is_left(detection):
    driver, compiler = open_host_device()
    everything(driver, compiler, detection)
    assert driver.leaks() == []
    counts = Counter(name for name, _ in driver.calls)
    assert {"create_event", "launch", "end_capture", "destroy_executable", "free_pinned"} < set(counts)
    for name, count in counts.items():
        for nth in sorted({round(part) for part in np.linspace(1, count, min(count, MOST_OF_A_CALL))}):
            fresh, _ = open_host_device()
            fresh.fail(name, nth)
            with pytest.raises(Exception, match="failure asked for by a test"):
                everything(fresh, compiler, detection)
            assert fresh.leaks() == [], f"{name} {nth}"
            assert fresh.violations == [], f"{name} {nth}"
