"""The OpenGL context that CUDA can share textures with: which one it is, and the proof that it works."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from cuda_gl_device import emulated_device, refused  # noqa: F401
from gl_app import app_context

from texvlm.backends import _gl_context
from texvlm.backends._egl import EglDevice, load_egl
from texvlm.backends.cuda import gl_context
from texvlm.backends.cuda.gl_backend import CudaGlBackend
from texvlm.backends.cuda.gl_context import open_current_for, open_headless_for
from texvlm.errors import BackendUnavailable

pytestmark = pytest.mark.gl


class Devices:
    """EGL with three devices that are all this machine's; `said` is what EGL says of each one's ordinal."""

    def __init__(self, said: dict[int, int | None]) -> None:
        real = load_egl().devices()[0]
        self.said = said
        self.listed = [replace(real, index=index) for index in said]

    def devices(self) -> list[EglDevice]:
        return self.listed

    def cuda_ordinal(self, device: EglDevice) -> int | None:
        return self.said[device.index]


def test_cuda_says_which_context_is_on_its_device(device, monkeypatch):
    driver, _ = device
    monkeypatch.setattr(gl_context, "load_egl", lambda: Devices({97: 4, 98: None, 99: 0}))
    monkeypatch.setattr(_gl_context, "_headless", {})
    answers = iter([[3], [], [0]])  # EGL says that 99 is ordinal 0, and says nothing of 98
    monkeypatch.setattr(driver, "gl_devices", lambda: next(answers))
    threads = threading.active_count()
    found = open_headless_for(driver)
    assert found.device.index == 97
    assert threading.active_count() == threads + 1  # the contexts on other devices were closed again
    monkeypatch.setattr(driver, "gl_devices", lambda: [1, 2])
    with pytest.raises(BackendUnavailable) as refusal:
        open_headless_for(driver)
    words = str(refusal.value)
    assert words.index("device 99") < words.index("device 98") < words.index("device 97")
    assert words.count("is on CUDA device 1, 2") == 3
    assert "NVIDIA_DRIVER_CAPABILITIES" in words
    assert "\n" not in words
    assert threading.active_count() == threads + 1  # one that was in use before stays
    found.stop()


def test_a_driver_that_refuses_to_say_is_a_refusal(device, monkeypatch):
    driver, _ = device
    monkeypatch.setattr(gl_context, "load_egl", lambda: Devices({98: None, 99: 0}))
    monkeypatch.setattr(_gl_context, "_headless", {})
    threads = threading.active_count()
    driver.fail("gl_devices", 1)
    found = open_headless_for(driver)
    assert found.device.index == 98
    found.stop()
    monkeypatch.setattr(_gl_context, "_headless", {})
    driver.fail("gl_devices", 1)
    driver.fail("gl_devices", 2)
    refused("device 99: gl_devices: failure asked for", lambda: open_headless_for(driver), BackendUnavailable)
    assert threading.active_count() == threads


def test_a_software_device_says_nothing_of_cuda():
    egl = load_egl()
    assert [egl.cuda_ordinal(found) for found in egl.devices() if found.software] == [
        None for found in egl.devices() if found.software
    ]


def test_an_applications_context_on_another_device_is_refused(device):
    driver, _ = device
    driver.gl_device_list = [1]
    with app_context():
        refused(
            "is on CUDA device 1; make the application render", lambda: open_current_for(driver), BackendUnavailable
        )
    refused("no OpenGL context is current", lambda: open_current_for(driver), BackendUnavailable)


@pytest.mark.parametrize("side", ["_write", "_read"])
def test_two_sides_that_see_different_texels_are_no_backend(device, monkeypatch, side):
    driver, compiler = device
    monkeypatch.setattr(gl_context, side, lambda context, name, *rest: np.zeros((4, 4, 4), np.uint8))
    reads = "CUDA reads .* where OpenGL wrote" if side == "_write" else "OpenGL reads .* where CUDA wrote"
    refused(
        f"cannot share a texture: {reads}.*use mapping='cuda'",
        lambda: CudaGlBackend(driver, compiler, open_headless_for(driver), mapping="resident"),
        BackendUnavailable,
    )
