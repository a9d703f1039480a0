"""What the doctor says of CUDA: without bindings, without a GPU, and on the emulated device."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from cuda_device import open_host_device

import texvlm.doctor.cuda as cuda
from texvlm.backends import _egl
from texvlm.backends._egl import EglDevice
from texvlm.backends.cuda import opening
from texvlm.backends.cuda.api import DeviceInfo
from texvlm.errors import BackendUnavailable, DeviceCallError

GPU = DeviceInfo("a GPU", "sm_90", "13.0", 80 << 30, 132, 50 << 20, 32768, 2048)


def by_name(findings):
    return {finding.name: finding for finding in findings}


def raiser(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.fixture
def machine(monkeypatch):
    """A machine with cuda-bindings and one GPU that CUDA shows; tests take parts of it away."""
    pytest.importorskip("cuda.bindings", reason="an extra: texvlm[cuda]")
    monkeypatch.setattr(cuda, "compare_with_torch", lambda bindings: None)
    monkeypatch.setattr(cuda, "driver_version", lambda bindings: 13000)
    monkeypatch.setattr(cuda, "_count", lambda bindings: 1)
    monkeypatch.setattr(cuda, "read_info", lambda bindings, ordinal: GPU)
    monkeypatch.setattr(cuda, "_interop", raiser(BackendUnavailable("no OpenGL context on CUDA device 0")))
    egl = SimpleNamespace(devices=lambda: [EglDevice(0, 1, False)], cuda_ordinal=lambda device: 0)
    monkeypatch.setattr(cuda, "load_egl", lambda: egl)
    return egl


def test_without_bindings_one_line_says_what_to_install(monkeypatch):
    refusal = BackendUnavailable('cuda-bindings cannot be imported (no module); pip install "texvlm[cuda]"')
    monkeypatch.setattr(cuda, "load_bindings", raiser(refusal))
    (finding,) = cuda.examine_cuda()
    assert (finding.name, finding.state) == ("cuda-bindings", "missing")
    assert 'pip install "texvlm[cuda]"' in finding.detail


def test_bindings_that_do_not_work_have_failed(monkeypatch):
    monkeypatch.setattr(cuda, "load_bindings", raiser(BackendUnavailable("cuda-bindings 13.0.1 is too old")))
    (finding,) = cuda.examine_cuda()
    assert finding.state == "failed"


def test_this_machine_is_described_whatever_it_has():
    for finding in cuda.examine_cuda():
        assert finding.state in ("ok", "missing", "failed")
        assert finding.detail
        assert "\n" not in finding.detail


def test_a_gpu_is_described(machine):
    found = by_name(cuda.examine_cuda())
    assert found["NVIDIA driver"].detail == "supports CUDA 13.0"
    assert found["CUDA device 0"].detail.startswith("a GPU, sm_90, 80 GiB, 132 multiprocessors, 50 MiB")
    assert found["EGL and CUDA"].state == "ok"
    assert found["EGL and CUDA"].detail == "EGL device 0 is CUDA device 0"
    assert found["OpenGL interop"].state == "missing"
    assert found["NVRTC"].state == "ok"


def test_a_driver_without_a_gpu_ends_the_list(machine, monkeypatch):
    monkeypatch.setattr(cuda, "_count", lambda bindings: 0)
    monkeypatch.setattr(cuda, "driver_version", lambda bindings: 0)
    found = by_name(cuda.examine_cuda())
    assert found["NVIDIA driver"].state == "missing"
    assert found["NVIDIA driver"].advice
    assert "EGL and CUDA" not in found


def test_egl_that_knows_no_cuda_device_is_pointed_out(machine):
    machine.cuda_ordinal = lambda device: None
    finding = by_name(cuda.examine_cuda())["EGL and CUDA"]
    assert finding.state == "missing"
    assert finding.detail == "EGL device 0 is no CUDA device"
    assert any("NVIDIA_DRIVER_CAPABILITIES" in line for line in finding.advice)


def test_what_breaks_is_a_finding(machine, monkeypatch):
    monkeypatch.setattr(cuda, "read_info", raiser(DeviceCallError("cudaGetDeviceProperties: 46 unavailable")))
    monkeypatch.setattr(cuda, "_interop", raiser(RuntimeError("driver fell over")))
    found = by_name(cuda.examine_cuda())
    assert found["CUDA device 0"].state == "failed"
    assert found["CUDA device 0"].detail == "cudaGetDeviceProperties: 46 unavailable"
    assert found["OpenGL interop"].detail == "RuntimeError: driver fell over"


def test_the_folder_of_compiled_kernels(tmp_path, monkeypatch):
    assert "none compiled yet" in cuda._kernel_folder(tmp_path / "none").detail
    (tmp_path / "refresh-1").write_bytes(bytes(2_000_000))
    (tmp_path / "sample-1").write_bytes(bytes(500_000))
    finding = cuda._kernel_folder(tmp_path)
    assert finding.state == "ok"
    assert finding.detail.startswith("2 compiled, 2.5 MB in ")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    finding = cuda._kernel_folder(tmp_path)
    assert finding.state == "failed"
    assert any("TEXVLM_CACHE" in line for line in finding.advice)


@pytest.mark.gl
def test_the_interop_probe_really_runs(gl_backend, monkeypatch):
    driver, compiler = open_host_device()
    monkeypatch.setattr(opening, "open_driver", lambda: driver)
    monkeypatch.setattr(cuda, "NvrtcCompiler", lambda architecture: compiler)
    monkeypatch.setattr(_egl.Egl, "cuda_ordinal", lambda egl, device: 0)
    (finding,) = cuda._interop()
    assert finding.state == "ok"
    assert "see each other's texels" in finding.detail
    assert driver.leaks() == []
    assert driver.violations == []
