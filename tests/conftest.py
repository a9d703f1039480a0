"""Fixtures shared by all tests: backends, real footage, seeds.

Skipping is legal on a laptop and a failure where the environment variable TEXVLM_REQUIRE names what
is needed: `TEXVLM_REQUIRE=gl,data`. Real footage is found through TEXVLM_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from required import REQUIRED, unavailable

from texvlm.backends import open_backend
from texvlm.backends.base import Backend, Filtering
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.gl_backend import CudaGlBackend, Mapping, open_cuda_gl
from texvlm.backends.cuda.gl_context import open_headless_for
from texvlm.backends.cuda.host_policy import HostDetection
from texvlm.backends.cuda.opening import open_cuda
from texvlm.errors import BackendUnavailable

MAPPINGS: tuple[Mapping, ...] = ("resident", "epochs")


@pytest.fixture(scope="session")
def gl_backend() -> Iterator[Backend]:
    """One gl backend for the whole run: contexts are meant to live that long."""
    try:
        backend = open_backend("gl").backend
    except BackendUnavailable as refusal:
        unavailable("gl", str(refusal))
    yield backend
    backend.close()


def detection_of(filtering: Filtering) -> HostDetection:
    """One of the two, never by chance, so that the suite runs on both."""
    return "host" if filtering == "exact" else "device"


def _host_cuda(filtering: Filtering, mapping: Mapping | None = None) -> Iterator[Backend]:
    """The cuda backend on its own kernels compiled for the host; it must leave nothing behind, and break no rule.

    With a mapping, OpenGL owns its arrays. See `detection_of` for where frames from host memory are compared.
    """
    try:
        driver, compiler = open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
    backend: Backend
    if mapping is None:
        backend = CudaBackend(driver, compiler, filtering=filtering, detect_host_frames=detection_of(filtering))
    else:
        context = open_headless_for(driver)
        backend = CudaGlBackend(driver, compiler, context, mapping=mapping, detect_host_frames="host")
    yield backend
    backend.close()
    assert not driver.leaks()
    assert not driver.violations


BACKENDS = [
    "cpu",
    pytest.param("gl", marks=pytest.mark.gl),
    "cuda-host",
    "cuda-host-exact",
    pytest.param("cuda-host-resident", marks=pytest.mark.gl),
    pytest.param("cuda-host-epochs", marks=pytest.mark.gl),
]
if torch.cuda.is_available() or "cuda" in REQUIRED:
    # only there, rather than hundreds of tests that skip: a GPU is a kind of machine, not something to install
    BACKENDS += [pytest.param(name, marks=pytest.mark.cuda) for name in ("cuda", "cuda-exact")]
    BACKENDS += [pytest.param(f"cuda-{mode}", marks=[pytest.mark.cuda, pytest.mark.gl]) for mode in MAPPINGS]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn; the conformance suite runs on all of them.

    cuda-host is the cuda backend on its own kernels, compiled for the host (tests/cuda_host).
    """
    name, filtering = request.param, "exact" if request.param.endswith("-exact") else "hardware"
    if name == "gl":
        yield request.getfixturevalue("gl_backend")
        return
    mapping: Mapping | None = next((mode for mode in MAPPINGS if name.endswith(mode)), None)
    if name.startswith("cuda-host"):
        if mapping is not None:
            request.getfixturevalue("gl_backend")  # or say why there is no OpenGL
        yield from _host_cuda(filtering, mapping)
        return
    if name.startswith("cuda"):
        try:
            if mapping is None:
                backend: Backend = open_cuda(filtering=filtering, detect_host_frames=detection_of(filtering))
            else:
                backend = open_cuda_gl(mapping=mapping)
        except BackendUnavailable as refusal:
            unavailable("cuda", str(refusal))
    else:
        backend = open_backend(name).backend
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real footage."""
    folder = os.environ.get("TEXVLM_DATA")
    if not folder:
        unavailable("data", "TEXVLM_DATA is not set; it names the folder of real footage")
    path = Path(str(folder))
    if not (path / "manifest.json").is_file():
        pytest.fail(f"TEXVLM_DATA={folder} holds no manifest.json", pytrace=False)
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same on every run."""
    return np.random.default_rng(20261121)
