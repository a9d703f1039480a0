"""The emulated CUDA device of tests that share textures with OpenGL; import `emulated_device`, ask for `device`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cuda_device import open_host_device
from cuda_host.compiler import HostCompiler
from cuda_host.driver import HostDriver
from required import unavailable

from texvlm.errors import BackendUnavailable


@pytest.fixture(name="device")
def emulated_device(gl_backend) -> Iterator[tuple[HostDriver, HostCompiler]]:
    """What a test makes on it, and on the headless context, must be gone at its end, and no rule be broken."""
    try:
        driver, compiler = open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
    live = gl_backend._context.live.copy()
    yield driver, compiler
    assert driver.leaks() == []
    assert driver.violations == []
    assert gl_backend._context.live == live


def refused(words, call, kind) -> None:
    """The call raises one line that has these words."""
    with pytest.raises(kind, match=words) as error:
        call()
    assert "\n" not in str(error.value)
