"""HostCompiler: what is built again, and what a failure says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cuda_device import open_host_device

from cuda_host.compiler import find_gxx
from texvlm.errors import BackendUnavailable, KernelBuildError

SOURCE = """#include "part.cuh"
struct Arguments { float* target; float a, b; };
static_assert(sizeof(Arguments) == TEXVLM_ARGUMENT_BYTES, "differs");
extern "C" __global__ void product(const Arguments a) { *a.target = combine(a.a, a.b); }
"""
SIZE = ("TEXVLM_ARGUMENT_BYTES", 16)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of kernels, and a cache of their own."""
    monkeypatch.setenv("TEXVLM_HOST_KERNELS", str(tmp_path / "cache"))
    sources = tmp_path / "cuda"
    sources.mkdir()
    (sources / "product.cu").write_text(SOURCE)
    (sources / "part.cuh").write_text("__device__ float combine(float a, float b) { return a * b - FACTOR; }\n")
    return sources


@pytest.fixture
def compiler(folder):
    if find_gxx() is None:
        pytest.skip("no g++")
    return open_host_device(sources=folder)[1]


def test_a_variant_is_built_once(folder, compiler):
    image = compiler.image("product.cu", (("FACTOR", 1), SIZE))
    stamp = Path(image.decode()).stat().st_mtime_ns
    _, again = open_host_device(sources=folder)
    assert again.image("product.cu", (("FACTOR", 1), SIZE)) == image
    assert Path(image.decode()).stat().st_mtime_ns == stamp
    assert compiler.image("product.cu", (("FACTOR", 2), SIZE)) != image
    (folder / "part.cuh").write_text("__device__ float combine(float a, float b) { return b; }\n")
    assert compiler.image("product.cu", (("FACTOR", 1), SIZE)) != image
    assert not list(Path(image.decode()).parent.glob("tmp*"))


def test_a_failure_names_the_variant_and_the_first_error(compiler):
    with pytest.raises(KernelBuildError, match=r"product.cu \{'FACTOR': 1, .*\}: .*differs") as caught:
        compiler.image("product.cu", (("FACTOR", 1), ("TEXVLM_ARGUMENT_BYTES", 24)))
    assert "product.cu:3" in str(caught.value).splitlines()[0]


def test_without_a_compiler_there_is_no_device(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendUnavailable, match=r"no g\+\+ was found"):
        open_host_device()


def test_multiply_and_add_round_twice_unless_asked_otherwise(folder, monkeypatch):
    """1 + 2^-12 squared is 1 + 2^-11 + 2^-24, of which a float holds all but the last."""
    if find_gxx() is None or " fma " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("no g++, or a processor without FMA")
    found = {}
    for fused in (False, True):
        driver, compiler = open_host_device(sources=folder, fused=fused)
        program = driver.load_program(compiler.image("product.cu", (("FACTOR", "1.00048828125f"), SIZE)))
        target, factor = np.zeros(1, np.float32), 1 + 2.0**-12
        arguments = np.array([(target.ctypes.data, factor, factor)], [("target", "u8"), ("a", "f4"), ("b", "f4")])
        kernel = driver.find_kernel(program, "product")
        driver.launch(kernel, (1, 1, 1), (1, 1, 1), arguments.ctypes.data, 0)
        found[fused] = target[0]
    assert found == {False: 0.0, True: 2.0**-24}
