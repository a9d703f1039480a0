"""The OpenGL context whose textures a CUDA device can use: finding it, and proving that it works.

EGL and CUDA number devices differently, and CUDA_VISIBLE_DEVICES renumbers only CUDA's. What EGL says of
a device's ordinal decides only the order in which devices are tried; whether a context is on our
device is for CUDA to say.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends import _gl_api as names
from texvlm.backends._egl import INSTALL_ADVICE, EglDevice, load_egl
from texvlm.backends._gl_context import GlContext, HeadlessContext, accepted_context
from texvlm.backends._gl_current import CurrentContext
from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.gl_arrays import GlArray, GlArrays
from texvlm.backends.cuda.interop import Interop
from texvlm.backends.cuda.kernels import Definitions, Kernels
from texvlm.backends.gl import GlBackend
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError, KernelBuildError
from texvlm.pyramid import TextureSpec

PROBE_ARGUMENTS = np.dtype(
    [
        ("texture", "<u8"),
        ("surface", "<u8"),
        ("seen", "<u8"),
        ("inverse_width", "<f4"),
        ("inverse_height", "<f4"),
        ("layer", "<i4"),
        ("padding", "<i4"),
    ]
)
"""`ProbeInteropArguments` of cuda/probe_interop.cu."""

_PROBED = TextureSpec((4, 4), layers=2, channels=4)
_PROBED_LAYER = 1


def variants() -> list[tuple[str, Definitions, np.dtype[Any]]]:
    """Every kernel that this module launches, for the proof that all of them compile."""
    return [("probe_interop.cu", (), PROBE_ARGUMENTS)]


def open_headless_for(driver: Driver) -> HeadlessContext:
    """A context without a window on the driver's own device.

    Raises:
        BackendUnavailable: there is none; names each device tried and why not.
    """
    egl = load_egl()

    def rank(device: EglDevice) -> tuple[bool, bool]:
        said = egl.cuda_ordinal(device)
        return (said not in (None, driver.ordinal), said is None)

    refusals = []
    for device in sorted(egl.devices(), key=rank):
        try:
            found = accepted_context(device, partial(_refusal, driver))
        except (DeviceCallError, BackendUnavailable) as error:
            refusals.append(f"{device.label}: {error}")
            continue
        if isinstance(found, HeadlessContext):
            return found
        refusals.append(f"{device.label}: {found}")
    raise BackendUnavailable(
        f"no OpenGL context on CUDA device {driver.ordinal} ({'; '.join(refusals) or 'EGL lists no device'}); "
        f"{INSTALL_ADVICE}"
    )


def open_current_for(driver: Driver) -> CurrentContext:
    """The context that the application has current on this thread.

    Raises:
        BackendUnavailable: none is current, or it is on another device.
    """
    context = CurrentContext()
    try:
        refusal = _refusal(driver, context)
    except DeviceCallError as error:
        refusal = str(error)
    if refusal is not None:
        raise BackendUnavailable(
            f"the current OpenGL context cannot be used by CUDA device {driver.ordinal}: {refusal}; "
            "make the application render on that device, or open the backend on another"
        )
    return context


def probe_interop(driver: Driver, kernels: Kernels, context: GlContext, owner: GlBackend) -> None:
    """Prove on a small array that each side sees what the other wrote; leaves nothing behind.

    Raises:
        BackendUnavailable: it does not; says what went wrong.
    """
    interop = Interop(driver, context)
    try:
        array = GlArrays(driver, interop, owner).create(_PROBED)
        try:
            _exchange(driver, kernels, interop, array)
        finally:
            array.close()
    except (DeviceCallError, KernelBuildError, ClosedError, MemoryError) as error:
        raise BackendUnavailable(
            f"CUDA device {driver.ordinal} ({driver.info.name}) and OpenGL ({context.info.renderer}) cannot "
            f"share a texture: {error}; use mapping='cuda', which needs no OpenGL"
        ) from error


def _exchange(driver: Driver, kernels: Kernels, interop: Interop, array: GlArray) -> None:
    pattern = (np.arange(64, dtype=np.uint8) * 3 + 1).reshape(4, 4, 4)
    interop.run(partial(_write, interop.context, array.image.name, pattern))
    stream = driver.current_stream()
    objects = array.objects(stream)
    seen = torch.zeros((4, 4, 4), dtype=torch.uint8, device=driver.device)
    arguments = np.zeros(1, PROBE_ARGUMENTS)
    arguments["texture"], arguments["surface"], arguments["seen"] = (
        objects.texture,
        objects.surfaces[0],
        seen.data_ptr(),
    )
    arguments["inverse_width"], arguments["inverse_height"] = (1 / side for side in _PROBED.padded_size)
    arguments["layer"] = _PROBED_LAYER
    kernels.get("probe_interop.cu", (), PROBE_ARGUMENTS).launch((1, 1, 1), (4, 4, 1), arguments, stream)
    by_cuda = seen.cpu().numpy()
    if not np.array_equal(by_cuda, pattern):
        raise DeviceCallError(f"CUDA reads {by_cuda[0, 0].tolist()} where OpenGL wrote {pattern[0, 0].tolist()}")
    with array.lent_to_gl(stream) as name:
        by_gl = interop.run(partial(_read, interop.context, name))
    if not np.array_equal(by_gl, 255 - pattern):
        raise DeviceCallError(f"OpenGL reads {by_gl[0, 0].tolist()} where CUDA wrote {(255 - pattern[0, 0]).tolist()}")


def _write(context: GlContext, name: int, pixels: NDArray[np.uint8]) -> None:
    gl, place = context.gl, (0, 0, _PROBED_LAYER, 4, 4, 1)
    gl.glTextureSubImage3D(name, 0, *place, names.RGBA, names.UNSIGNED_BYTE, pixels.ctypes.data)
    gl.check("glTextureSubImage3D")


def _read(context: GlContext, name: int) -> NDArray[np.uint8]:
    gl, place = context.gl, (0, 0, _PROBED_LAYER, 4, 4, 1)
    pixels = np.zeros((4, 4, 4), np.uint8)
    gl.glGetTextureSubImage(
        name, 0, *place, names.RGBA, names.UNSIGNED_BYTE, pixels.nbytes, ctypes.c_void_p(pixels.ctypes.data)
    )
    gl.check("glGetTextureSubImage")
    return pixels


def _refusal(driver: Driver, context: GlContext) -> str | None:
    """Why the driver's device cannot use a context's textures, or None."""

    def ask() -> list[int]:
        driver.current_stream()
        return driver.gl_devices()

    devices = context.run(ask)
    if driver.ordinal in devices:
        return None
    where = f"CUDA device {', '.join(map(str, devices))}" if devices else "no CUDA device"
    return f"{context.info.renderer} is on {where}"
