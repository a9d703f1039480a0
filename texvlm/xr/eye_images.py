"""The textures that the eyes' pictures are drawn into: one swapchain of the runtime, and what texvlm reads of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from texvlm.errors import HeadsetUnavailable
from texvlm.xr.calls import calling
from texvlm.xr.current_gl import TEXTURE_2D, TEXTURE_2D_ARRAY, CurrentGl

Arrangement = Literal["layers", "side-by-side"]
"""Two layers of an array texture, or two halves of one texture."""

RGBA8, SRGB8_ALPHA8 = 0x8058, 0x8C43
FORMATS = (SRGB8_ALPHA8, RGBA8)
"""Of swapchains, best first. A compositor takes RGBA8 for light, and shows pictures coded for a screen too pale."""

WAIT_NS = 1_000_000_000
"""Longest wait for an image that the compositor still reads."""


@dataclass(frozen=True, slots=True)
class EyePlace:
    """Where the picture of one eye is: see EyeBuffer."""

    layer: int
    corner: tuple[int, int]


class EyeImages:
    """The images of one swapchain, which the runtime owns, with a framebuffer for each picture.

    texvlm reads 8-bit textures, but none that OpenGL decodes from sRGB. Where the runtime's are, the picture is copied
    into a plain one first, bit by bit and on the device; `readable` names the texture to attach.

    Args:
        size: (width, height) of one eye's picture.
        arrangement: how the two pictures lie in an image.
    Raises:
        HeadsetUnavailable: the runtime offers no format of 8 bits.
        DeviceCallError: it refuses the size.
    """

    def __init__(self, xr: Any, session: Any, gl: CurrentGl, size: tuple[int, int], arrangement: Arrangement) -> None:
        if arrangement not in get_args(Arrangement):
            raise ValueError(f"arrangement is {arrangement!r}; accepted: {', '.join(get_args(Arrangement))}")
        self._xr, self._gl = xr, gl
        layered = arrangement == "layers"
        self.size = size
        self.target = TEXTURE_2D_ARRAY if layered else TEXTURE_2D
        self.places = (EyePlace(0, (0, 0)), EyePlace(1, (0, 0)) if layered else EyePlace(0, (size[0], 0)))
        self._layers = 2 if layered else 1
        self._whole = size if layered else (2 * size[0], size[1])
        with calling(xr, "making the eyes' pictures"):
            self.format = _format_of(list(xr.enumerate_swapchain_formats(session)))
            usage = xr.SwapchainUsageFlags
            self.swapchain = xr.create_swapchain(
                session,
                xr.SwapchainCreateInfo(
                    usage_flags=usage.COLOR_ATTACHMENT_BIT | usage.SAMPLED_BIT | usage.TRANSFER_SRC_BIT,
                    format=self.format,
                    sample_count=1,
                    width=self._whole[0],
                    height=self._whole[1],
                    face_count=1,
                    array_size=self._layers,
                    mip_count=1,
                ),
            )
            images = xr.enumerate_swapchain_images(self.swapchain, xr.SwapchainImageOpenGLKHR)
        self.textures = tuple(int(image.image) for image in images)
        self.framebuffers = tuple(
            tuple(gl.new_framebuffer(name, place.layer if layered else None) for place in self.places)
            for name in self.textures
        )
        self._plain = gl.new_texture(RGBA8, self._whole, self._layers) if self.format == SRGB8_ALPHA8 else None

    def acquire(self) -> int:
        """The image to draw next, 0-based; waits until the compositor has read it."""
        xr = self._xr
        with calling(xr, "waiting for an eye's picture"):
            image = int(xr.acquire_swapchain_image(self.swapchain, xr.SwapchainImageAcquireInfo()))
            xr.wait_swapchain_image(self.swapchain, xr.SwapchainImageWaitInfo(timeout=WAIT_NS))
        return image

    def release(self) -> None:
        """Hand the image over to the compositor."""
        xr = self._xr
        with calling(xr, "handing over an eye's picture"):
            xr.release_swapchain_image(self.swapchain, xr.SwapchainImageReleaseInfo())

    @property
    def readable(self) -> tuple[int, ...]:
        """For each image the texture that texvlm may attach."""
        return self.textures if self._plain is None else (self._plain,) * len(self.textures)

    def make_readable(self, image: int) -> None:
        """What was drawn into an image is in its readable texture afterwards."""
        if self._plain is not None:
            self._gl.copy_texture(self.textures[image], self._plain, self._whole, self._layers)

    def close(self) -> None:
        """Give everything back; the session still lives."""
        for names in self.framebuffers:
            for name in names:
                self._gl.delete_framebuffer(name)
        if self._plain is not None:
            self._gl.delete_texture(self._plain)
        self._xr.destroy_swapchain(self.swapchain)


def _format_of(offered: list[int]) -> int:
    for form in FORMATS:
        if form in offered:
            return form
    raise HeadsetUnavailable(
        f"the OpenXR runtime offers eye pictures as {', '.join(map(hex, offered))} alone; needed: SRGB8_ALPHA8 "
        f"({SRGB8_ALPHA8:#x}) or RGBA8 ({RGBA8:#x})"
    )
