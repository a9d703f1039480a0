"""Drawing without a window: a headless context of its own on the calling thread, and a framebuffer to draw into."""

from __future__ import annotations

from texvlm.backends._egl import GL_VERSION, INSTALL_ADVICE, EglDevice, load_egl
from texvlm.backends._gl_api import NEAREST, RGBA8, TEXTURE_2D
from texvlm.errors import BackendUnavailable, DeviceCallError
from texvlm.viewer.native.gl_draw import COLOR_ATTACHMENT0, FRAMEBUFFER, FRAMEBUFFER_COMPLETE, DrawApi
from texvlm.viewer.native.surface import Event


class OffscreenSurface:
    """A framebuffer of fixed size that nobody sees.

    Args:
        size: (width, height), pixels.
    Raises:
        BackendUnavailable: no device gives an OpenGL context; names each one tried.
        ValueError: a side below 1.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        if min(size) < 1:
            raise ValueError(f"size is {size[0]} x {size[1]}; each side is 1 or more")
        self._size = size
        self._egl = load_egl()
        self._display, self._context = self._open()
        try:
            self.gl = gl = DrawApi(self._egl.get_proc_address)
            self._texture = gl.make_texture(TEXTURE_2D, RGBA8, size, filtered=NEAREST)
            self._framebuffer = gl.generate(gl.glCreateFramebuffers)
            gl.glNamedFramebufferTexture(self._framebuffer, COLOR_ATTACHMENT0, self._texture, 0)
            status = gl.glCheckNamedFramebufferStatus(self._framebuffer, FRAMEBUFFER)
            if status != FRAMEBUFFER_COMPLETE:
                raise DeviceCallError(f"glCheckNamedFramebufferStatus: {status:#06x}; a defect: report it")
            gl.glBindFramebuffer(FRAMEBUFFER, self._framebuffer)
        except BaseException:
            self._leave()
            raise

    def _open(self) -> tuple[int, int]:
        refusals = []
        for device in sorted(self._egl.devices(), key=_software_last):
            try:
                display = self._egl.open_display(device)
                return display, self._egl.create_headless(display)[0]
            except DeviceCallError as error:
                refusals.append(f"{device.label}: {error}")
        seen = "; ".join(refusals) or "EGL lists no device"
        raise BackendUnavailable(f"no usable OpenGL {GL_VERSION[0]}.{GL_VERSION[1]} ({seen}); {INSTALL_ADVICE}")

    @property
    def size(self) -> tuple[int, int]:
        """See Surface."""
        return self._size

    @property
    def scale(self) -> int:
        """See Surface."""
        return 1

    @property
    def closing(self) -> bool:
        """See Surface."""
        return False

    def events(self, timeout_s: float | None) -> list[Event]:
        """See Surface. Nothing ever happens, and nothing is waited for: frames are taken one by one."""
        return []

    def wake(self) -> None:
        """See Surface."""

    def show(self) -> None:
        """See Surface. Waits for the drawing to be done."""
        self.gl.glFinish()

    def set_title(self, title: str) -> None:
        """See Surface."""

    def toggle_full_screen(self) -> None:
        """See Surface."""

    def close(self) -> None:
        """See Surface."""
        if self._context:
            gl = self.gl
            gl.delete(gl.glDeleteFramebuffers, self._framebuffer)
            gl.delete(gl.glDeleteTextures, self._texture)
            self._leave()

    def _leave(self) -> None:
        self._egl.make_current(self._display, None, None, None)
        self._egl.destroy_context(self._display, self._context)
        self._context = 0


def _software_last(device: EglDevice) -> bool:
    return device.software
