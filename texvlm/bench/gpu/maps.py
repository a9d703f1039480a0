"""What mapping costs: OpenGL textures taken by CUDA and given back, all in one call or one by one."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import numpy as np

from texvlm.backends import _gl_api as names
from texvlm.backends._gl_api import GlApi
from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.gl_context import open_headless_for
from texvlm.bench.gpu.report import MapRow
from texvlm.bench.report import Timing

COUNTS = (1, 8, 64)
"""Textures mapped at once."""

WARMUP = 5


def map_rows(driver: Driver, *, side: int = 1024, rounds: int = 50, counts: tuple[int, ...] = COUNTS) -> list[MapRow]:
    """Time map + unmap of square RGBA8 textures on the thread that owns their context.

    Host time of the calls; the device is idle before each. Registration is not part of it: that is done once.

    Args:
        driver: of the device.
        side: of each texture, texels.
        rounds: timed ones.
        counts: textures mapped at once.
    Raises:
        BackendUnavailable: there is no OpenGL context on this device.
    """
    context = open_headless_for(driver)

    def measure() -> list[MapRow]:
        return [_measure(driver, context.gl, count, side, rounds) for count in counts]

    return context.run(measure)


def _measure(driver: Driver, gl: GlApi, count: int, side: int, rounds: int) -> MapRow:
    stream = driver.current_stream()
    textures: list[int] = []
    resources: list[int] = []
    pixels = np.zeros((16, 16, 4), np.uint8)
    try:
        for _ in range(count):
            texture = gl.generate(gl.glCreateTextures, names.TEXTURE_2D_ARRAY)
            textures.append(texture)
            gl.glTextureStorage3D(texture, 1, names.RGBA8, side, side, 1)
        gl.check("glTextureStorage3D")
        resources += [driver.register_gl_image(name, names.TEXTURE_2D_ARRAY, "surface") for name in textures]

        def at_once() -> None:
            driver.map_gl(resources, stream)
            driver.unmap_gl(resources, stream)

        def one_by_one() -> None:
            for resource in resources:
                driver.map_gl([resource], stream)
            for resource in resources:
                driver.unmap_gl([resource], stream)

        def idle() -> None:
            driver.synchronize(stream)
            gl.glFinish()

        def draw() -> None:
            idle()
            box = (0, 0, 0, min(side, 16), min(side, 16), 1)
            for texture in textures:
                gl.glTextureSubImage3D(texture, 0, *box, names.RGBA, names.UNSIGNED_BYTE, pixels.ctypes.data)

        return MapRow(
            textures=count,
            one_call=_time(at_once, idle, rounds),
            call_each=_time(one_by_one, idle, rounds),
            drawn_between=_time(at_once, draw, rounds),
        )
    finally:
        for resource in resources:
            driver.unregister_gl_image(resource)
        gl.glDeleteTextures(len(textures), (ctypes.c_uint * len(textures))(*textures))


def _time(call: Callable[[], None], before: Callable[[], None], rounds: int) -> Timing:
    """Host time of a call, each time after `before`."""
    spent = []
    for round_ in range(WARMUP + rounds):
        before()
        start = time.perf_counter()
        call()
        if round_ >= WARMUP:
            spent.append(time.perf_counter() - start)
    return Timing.of(spent)
