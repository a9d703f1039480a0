"""What fails on the way to a GPU or on it: one line with the cause, nothing left behind."""

from __future__ import annotations

import logging
import re
import sys

import pytest
import torch
from cuda_bindings import Fake, every_call, installed_bindings

from texvlm.backends.cuda import bindings as bindings_module
from texvlm.backends.cuda.bindings import Bindings, check_version, compare_with_torch, load_bindings
from texvlm.backends.cuda.driver import CudaDriver
from texvlm.backends.cuda.opening import open_driver
from texvlm.errors import BackendUnavailable, DeviceCallError


@pytest.fixture(scope="session")
def real() -> Bindings:
    return installed_bindings()


@pytest.fixture
def fake(real) -> Fake:
    return Fake(real)


@pytest.fixture
def driver(fake) -> CudaDriver:
    made = CudaDriver(fake.bindings, 1)
    fake.calls.clear()
    return made


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("name", "call", "code", "words"),
    [
        (
            "map_gl",
            "cudaGraphicsMapResources",
            219,
            "219 cudaErrorInvalidGraphicsContext; .*not current on this thread",
        ),
        (
            "map_gl",
            "cudaGraphicsMapResources",
            999,
            "999 cudaErrorUnknown; likely cause: the texture is mapped already",
        ),
        ("register_gl_image", "cudaGraphicsGLRegisterImage", 304, "304 cudaErrorOperatingSystem; .*NVIDIA driver"),
        ("register_gl_image", "cudaGraphicsGLRegisterImage", 999, "999 cudaErrorUnknown; .*hybrid graphics"),
        ("register_gl_image", "cudaGraphicsGLRegisterImage", 801, "801 cudaErrorNotSupported; .*cannot share"),
        ("register_gl_image", "cudaGraphicsGLRegisterImage", 1, "1 cudaErrorInvalidValue; .*no sRGB or RGB8"),
        ("unregister_gl_image", "cudaGraphicsUnregisterResource", 208, "208 cudaErrorAlreadyMapped; .*unmap it first"),
        ("create_stream", "cudaStreamCreateWithFlags", 100, "100 cudaErrorNoDevice; .*no NVIDIA GPU is visible"),
        ("begin_capture", "cudaStreamBeginCapture", 900, "900 cudaErrorStreamCaptureUnsupported; .*default stream"),
        ("synchronize", "cudaStreamSynchronize", 700, "700 cudaErrorIllegalAddress; .*outside its arrays"),
    ],
)
def test_a_failure_names_call_code_and_cause(fake, driver, name, call, code, words):
    fake.answers[call] = (fake.bindings.runtime.cudaError_t(code), None)
    with pytest.raises(DeviceCallError, match=f"^{call}: {words}"):
        every_call(driver)[name]()
    assert fake.calls[-1] == ("cudaGetLastError",)  # nobody else is to find it


def test_a_failure_of_the_driver_part(fake, driver):
    fake.answers["cuLaunchKernel"] = (fake.bindings.driver.CUresult.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,)
    with pytest.raises(DeviceCallError, match=r"^cuLaunchKernel: 701 CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES; .*registers"):
        every_call(driver)["launch"]()
    assert fake.named("cudaGetLastError") == []  # which knows only the runtime's calls


NULL_HANDLES = {
    "create_array": "cudaMallocMipmappedArray",
    "level_of": "cudaGetMipmappedArrayLevel",
    "create_texture_object": "cudaCreateTextureObject",
    "create_level_texture_object": "cudaCreateTextureObject",
    "create_surface_object": "cudaCreateSurfaceObject",
    "register_gl_image": "cudaGraphicsGLRegisterImage",
    "mapped_array": "cudaGraphicsResourceGetMappedMipmappedArray",
    "mapped_level": "cudaGraphicsSubResourceGetMappedArray",
    "end_capture": "cudaStreamEndCapture",
    "instantiate": "cudaGraphInstantiate",
    "load_program": "cuModuleLoadData",
    "find_kernel": "cuModuleGetFunction",
}


@pytest.mark.parametrize(("name", "call"), NULL_HANDLES.items())
def test_a_null_handle_is_no_success(fake, driver, name, call):
    fake.answers[call] = (0, 0)
    with pytest.raises(DeviceCallError, match=f"^{call}: success, but a null handle"):
        every_call(driver)[name]()


def test_a_full_device_is_a_memory_error(fake, driver, monkeypatch):
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    full = (fake.bindings.runtime.cudaError_t.cudaErrorMemoryAllocation, None)
    fake.answers["cudaMallocMipmappedArray"] = full
    with pytest.raises(
        MemoryError, match=r"^cudaMallocMipmappedArray: 2 cudaErrorMemoryAllocation; make textures smaller"
    ):
        every_call(driver)["create_array"]()
    assert emptied == [True]
    assert len(fake.named("cudaMallocMipmappedArray")) == 2
    # what torch gave back may be enough
    fake.answers["cudaMallocMipmappedArray"] = lambda *_: (0, 0x4440) if len(emptied) == 2 else full
    assert every_call(driver)["create_array"]() == 0x4440
    fake.answers["cudaHostAlloc"] = full
    with pytest.raises(MemoryError, match=r"^cudaHostAlloc: 2"):
        every_call(driver)["allocate_pinned"]()


# ---------------------------------------------------------------- no GPU, and why


@pytest.fixture
def cuda_torch(monkeypatch) -> None:
    """Torch as if built for CUDA 13, with device 1 current."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_torchs_current_device_is_taken(fake, cuda_torch):
    assert open_driver(bindings=fake.bindings).ordinal == 1
    assert open_driver(0, bindings=fake.bindings).ordinal == 0


def refusal(fake: Fake, ordinal: int | None = None) -> str:
    with pytest.raises(BackendUnavailable) as caught:
        open_driver(ordinal, bindings=fake.bindings)
    words = str(caught.value)
    assert "\n" not in words
    return words


def test_no_driver(fake, cuda_torch):
    fake.answers["cudaGetDeviceCount"] = (35, None)
    fake.answers["cudaDriverGetVersion"] = (0, 0)
    assert "no NVIDIA driver (libcuda) is found; install it" in refusal(fake)


def test_a_driver_that_is_too_old(fake, cuda_torch):
    fake.answers["cudaGetDeviceCount"] = (35, None)
    fake.answers["cudaDriverGetVersion"] = (0, 12040)
    assert refusal(fake).startswith("the NVIDIA driver supports CUDA 12.4, cuda-bindings is made for")
    assert refusal(fake).endswith('update the driver, or pip install "texvlm[cuda12]"')
    fake.answers["cudaDriverGetVersion"] = (0, 11080)  # no bindings that are supported would help
    assert refusal(fake).endswith("update the driver")


@pytest.mark.parametrize("answer", [(100, None), (0, 0)])
def test_no_device(fake, cuda_torch, monkeypatch, answer):
    fake.answers["cudaGetDeviceCount"] = answer
    assert refusal(fake) == "the NVIDIA driver shows no GPU to this process"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert refusal(fake) == "the NVIDIA driver shows no GPU to this process (CUDA_VISIBLE_DEVICES='')"


def test_a_driver_that_does_not_start(fake, cuda_torch):
    error = fake.bindings.runtime.cudaError_t.cudaErrorSystemDriverMismatch
    fake.answers["cudaGetDeviceCount"] = (error, None)
    assert refusal(fake).startswith("the NVIDIA driver does not start: cudaGetDeviceCount: 803 cudaErrorSystemDriver")


@pytest.mark.parametrize("ordinal", [2, -1])
def test_a_device_that_is_not_there(fake, cuda_torch, ordinal):
    assert refusal(fake, ordinal) == f"no CUDA device {ordinal}; this process sees 2, counted from 0"


@pytest.mark.parametrize(("major", "minor", "usable"), [(7, 0, False), (7, 5, True), (6, 1, False), (12, 0, True)])
def test_a_device_that_is_too_old(fake, cuda_torch, major, minor, usable):
    values = {"cudaDevAttrComputeCapabilityMajor": major, "cudaDevAttrComputeCapabilityMinor": minor}
    fake.answers["cudaDeviceGetAttribute"] = lambda attribute, ordinal: (0, values.get(attribute.name, 32768))
    if usable:
        assert open_driver(bindings=fake.bindings).info.architecture == f"sm_{major}{minor}"
    else:
        assert (
            refusal(fake) == f"CUDA device 1 is of architecture sm_{major}{minor}; accepted: sm_75 (Turing) and newer"
        )


def test_a_device_that_torch_cannot_start(fake, cuda_torch, monkeypatch):
    def broken() -> int:
        raise RuntimeError("CUDA unknown error")

    monkeypatch.setattr(torch.cuda, "current_device", broken)
    assert refusal(fake, 1) == "CUDA device 1 cannot be used: CUDA unknown error"
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    fake.answers["cudaSetDevice"] = (fake.bindings.runtime.cudaError_t.cudaErrorDevicesUnavailable,)
    assert refusal(fake).startswith("CUDA device 1 cannot be used: cudaSetDevice: 46 cudaErrorDevicesUnavailable")


def test_torch_without_cuda(fake, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with monkeypatch.context() as without:  # said before what is missing besides
        without.setitem(sys.modules, "cuda.bindings", None)
        with pytest.raises(BackendUnavailable, match="was built without CUDA"):
            open_driver()
    assert re.fullmatch(r"torch \S+ was built without CUDA; install a CUDA build of torch", refusal(fake))


def test_no_bindings(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)  # as if not installed
    for built_for, extra in (("12.8", "cuda12"), ("13.0", "cuda"), (None, "cuda")):
        monkeypatch.setattr(torch.version, "cuda", built_for)
        words = rf'cuda-bindings cannot be imported \(.+\); pip install "texvlm\[{extra}\]"$'
        with pytest.raises(BackendUnavailable, match=words):
            load_bindings()


@pytest.mark.parametrize("version", ["12.9.3", "12.6.0", "11.8.0", "13.0.0", "13.0.1", "13.0.2", "unknown"])
def test_versions_whose_graphics_calls_do_nothing(version):
    words = rf"cuda-bindings {version} is too old .*accepted: 12\.9\.4 or 13\.0\.3 and newer of these; pip install"
    with pytest.raises(BackendUnavailable, match=words):
        check_version(version)


def test_versions_that_work():
    assert check_version("12.9.4") == (12, 9, 4)
    assert check_version("13.0.3.post1") == (13, 0, 3)
    assert check_version("13.5.0") == (13, 5, 0)
    assert check_version("14.0.0") == (14, 0, 0)


def test_other_major_versions_are_said(fake, monkeypatch, caplog):
    other = 25 - fake.bindings.version[0]  # 12 for 13, 13 for 12
    monkeypatch.setattr(torch.version, "cuda", f"{other}.1")
    with caplog.at_level(logging.WARNING, "texvlm"):
        compare_with_torch(fake.bindings)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"torch is built for CUDA {other}.1, cuda-bindings is {fake.bindings.version[0]}.")
    caplog.clear()
    monkeypatch.setattr(torch.version, "cuda", f"{fake.bindings.version[0]}.0")
    compare_with_torch(fake.bindings)
    assert not caplog.records


def test_codes_without_a_known_cause_are_named_too(fake, driver):
    fake.answers["cudaStreamDestroy"] = (fake.bindings.runtime.cudaError_t.cudaErrorAssert,)
    with pytest.raises(DeviceCallError, match=r"^cudaStreamDestroy: 710 cudaErrorAssert$"):
        driver.destroy_stream(16)


def test_every_cause_belongs_to_a_code_that_exists(real):
    codes = {int(code) for code in real.runtime.cudaError_t} | {int(code) for code in real.driver.CUresult}
    assert set(bindings_module._CAUSES) <= codes
    for call, code in bindings_module._CAUSES_OF_CALL:
        assert hasattr(real.runtime, call)
        assert code in codes
