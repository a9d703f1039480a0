"""The emulated device, with every test held to its books."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_device import open_host_device

from cuda_host.driver import HostDriver
from texvlm.backends.cuda.kernels import Definitions, Kernels
from texvlm.errors import BackendUnavailable

HERE = Path(__file__).parent


@dataclass
class Bench:
    """A device and kernels of tests/cuda_host/kernels/.

    Attributes:
        driver: the device.
        expects_violations: set by tests that break rules.
    """

    driver: HostDriver
    kernels: Kernels
    expects_violations: bool = False

    def run(
        self,
        file: str,
        fields: list[tuple[str, str]],
        *values: int,
        grid: tuple[int, int, int] = (1, 1, 1),
        block: tuple[int, int, int] = (1, 1, 1),
        definitions: Definitions = (),
        stream: int = 0,
    ) -> None:
        """Launch a kernel with one structure of these fields."""
        arguments = np.array([values], np.dtype(fields))
        self.kernels.get(file, definitions, arguments.dtype).launch(grid, block, arguments, stream)


@pytest.fixture
def open_bench(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """Opens emulated devices; in the end nothing may be left, and no rule broken unseen."""
    benches = []

    def open_one(**options: Any) -> Bench:
        try:
            driver, compiler = open_host_device(sources=HERE / "kernels", **options)
        except BackendUnavailable as refusal:
            shared = request.config.pluginmanager.get_plugin(str(HERE.parent / "conftest.py"))
            shared.unavailable("cuda-host", str(refusal))
        benches.append(Bench(driver, Kernels(driver, compiler)))
        return benches[-1]

    yield open_one
    for bench in benches:
        bench.kernels.close()
        assert bench.driver.leaks() == []
        assert bool(bench.driver.violations) == bench.expects_violations, bench.driver.violations
        bench.driver.close()


@pytest.fixture
def bench(open_bench) -> Bench:
    """One device."""
    return open_bench()
