"""Draws one picture of a session into a rectangle of the framebuffer that is bound, in any mode.

    Shown -> put() -> tokens and tiles on the device -> draw(): frame, squares, marks

The frame is drawn from the engine's own texture array (`frame_texture`), the reconstruction from token
pixels alone, an instanced square a token. Everything runs where the context is current.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm.backends._gl_api import NEAREST, R8, RED, RGBA, RGBA8, TEXTURE_2D, UNSIGNED_BYTE
from texvlm.backends._gl_programs import Definitions, Program
from texvlm.drawing.pictures import CHANGED_TINT, PAPER_GRAY
from texvlm.drawing.reconstruct import BACKGROUND
from texvlm.engine import Engine
from texvlm.regions import TILE, TileMask
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.native import gl_draw as names
from texvlm.viewer.native.frame_texture import FrameTexture, FrameTextures
from texvlm.viewer.native.gl_draw import DrawApi, build_drawing
from texvlm.viewer.native.places import Place, places_of
from texvlm.viewer.native.token_squares import TokenSquares
from texvlm.viewer.shown import Shown

AS_IT_IS, DIMMED, CHANGED_TILES, DARK = range(4)
PIXELS, OUTLINE, ANEW = range(3)
"""As in shaders/view_frame.frag and view_tokens.frag."""

VERTICES = {PIXELS: 4, OUTLINE: 10, ANEW: 4}
"""Of one token's strip."""

BRIGHTNESS = 0.55
"""What a frame keeps of its brightness under token squares."""

_FRAME_SHADING = {
    PictureMode.FRAME: AS_IT_IS,
    PictureMode.TOKENS: DIMMED,
    PictureMode.CHANGED: CHANGED_TILES,
    PictureMode.REENCODED: DARK,
}


class Painter:
    """Owns the programs, textures and buffers that pictures are drawn with.

    Any of its calls may raise KernelBuildError, where a shader does not compile when it is first used.
    """

    def __init__(self, gl: DrawApi) -> None:
        self._gl = gl
        self._programs: dict[tuple[str, str, Definitions], Program] = {}
        self.frames = FrameTextures(gl)
        self.squares = TokenSquares(gl)
        self._boxes = gl.generate(gl.glCreateVertexArrays)  # a box has no attributes
        self._coarse = gl.make_sampler(names.LINEAR_MIPMAP_NEAREST, names.LINEAR)
        self._fine = gl.make_sampler(names.LINEAR, names.LINEAR)  # of level 0: there is no level to be chosen
        self._exact = gl.make_sampler(NEAREST, NEAREST)
        self._tiles: tuple[int, tuple[int, int]] = (0, (0, 0))
        self._words: dict[int, tuple[int, tuple[int, int]]] = {}
        self._shown: Shown | None = None

    # ------------------------------------------------------------------ what is shown

    def put(self, shown: Shown) -> None:
        """Take a picture's tokens and tiles."""
        if self._shown is None or self._shown.tiles is not shown.tiles:
            self._put_tiles(shown.tiles)
        self.squares.put(shown.batch)
        self._shown = shown

    def put_words(self, slot: int, picture: NDArray[np.uint8]) -> None:
        """Take a picture with alpha, (height, width, 4), to be laid over the others; one a slot."""
        gl, size = self._gl, (picture.shape[1], picture.shape[0])
        name, known = self._words.get(slot, (0, (0, 0)))
        if known != size:
            gl.delete(gl.glDeleteTextures, name)
            name = gl.make_texture(TEXTURE_2D, RGBA8, size, filtered=NEAREST)
            self._words[slot] = (name, size)
        picture = np.ascontiguousarray(picture)
        gl.glTextureSubImage2D(name, 0, 0, 0, *size, RGBA, UNSIGNED_BYTE, picture.ctypes.data)

    def forget(self) -> None:
        """Hold no picture any more: its tokens are the engine's memory."""
        self._shown = None

    def close(self) -> None:
        """Delete everything."""
        gl = self._gl
        gl.glUseProgram(0)  # what is current lives on: whoever saves and restores it then would restore a dead one
        gl.glBindVertexArray(0)
        for program in self._programs.values():
            gl.glDeleteProgram(program.name)
        self._programs.clear()
        gl.delete(gl.glDeleteTextures, self._tiles[0], *(name for name, _ in self._words.values()))
        gl.delete(gl.glDeleteVertexArrays, self._boxes)
        gl.delete(gl.glDeleteSamplers, self._coarse, self._fine, self._exact)
        self.squares.close()
        self.frames.close()
        self._shown = None

    # ------------------------------------------------------------------ drawing

    def draw(self, engine: Engine, mode: PictureMode, window: tuple[int, int], *, marked: bool = True) -> None:
        """Fill a framebuffer of (width, height) pixels with the picture last put, or with nothing before one."""
        gl = self._gl
        for switch in (names.SCISSOR_TEST, names.DEPTH_TEST, names.CULL_FACE, names.DITHER, names.BLEND):
            gl.glDisable(switch)
        gl.glViewport(0, 0, *window)
        gl.glClearColor(PAPER_GRAY / 255, PAPER_GRAY / 255, PAPER_GRAY / 255, 1.0)
        gl.glClear(names.COLOR_BUFFER_BIT)
        shown = self._shown
        if shown is None:
            return
        gl.glEnable(names.SCISSOR_TEST)
        places = places_of(shown.size, window, len(mode.parts))
        for part, place in zip(mode.parts, places, strict=True):
            self._open(place, window)
            if part is PictureMode.RECONSTRUCTION:
                gl.glClearColor(BACKGROUND / 255, BACKGROUND / 255, BACKGROUND / 255, 1.0)
                gl.glClear(names.COLOR_BUFFER_BIT)
                self._draw_squares(PIXELS, shown.size, place)
            else:
                ratio = shown.size[0] / place.width
                with self.frames.of(engine, shown.frame, texels_per_pixel=ratio) as frame:
                    self._draw_frame(part, frame, place)
            if marked:
                self._draw_marks(shown, place)
        gl.glDisable(names.SCISSOR_TEST)
        gl.check("drawing a picture")

    def draw_words(self, slot: int, corner: tuple[int, int], window: tuple[int, int]) -> None:
        """Lay the picture of a slot over the framebuffer, its top-left corner at a pixel."""
        name, (width, height) = self._words[slot]
        gl = self._gl
        self._open(Place(corner[0], corner[1], width, height), window)
        gl.glEnable(names.BLEND)
        gl.glBlendFuncSeparate(names.SRC_ALPHA, names.ONE_MINUS_SRC_ALPHA, names.ONE, names.ZERO)
        gl.glBindTextureUnit(3, name)
        gl.glBindSampler(3, 0)
        self._draw_box(self._program("view_box.vert", "view_panel.frag"))
        gl.glDisable(names.BLEND)

    def _program(self, vertex: str, fragment: str, definitions: Definitions = ()) -> Program:
        """Two shaders as one program, made on first use."""
        key = (vertex, fragment, definitions)
        if key not in self._programs:
            self._programs[key] = build_drawing(self._gl, *key)
        return self._programs[key]

    def _open(self, place: Place, window: tuple[int, int]) -> None:
        """Draw within a place from now on."""
        where = (place.x, window[1] - place.y - place.height, place.width, place.height)
        self._gl.glViewport(*where)
        self._gl.glScissor(*where)

    def _draw_frame(self, mode: PictureMode, frame: FrameTexture, place: Place) -> None:
        gl = self._gl
        sampler = self._coarse if frame.texture_level else self._fine
        if frame.level == 0 and frame.size == (place.width, place.height):
            sampler = self._exact
        gl.glBindTextureUnit(0, frame.name)
        gl.glBindSampler(0, sampler)
        gl.glBindTextureUnit(1, self._tiles[0])
        gl.glBindSampler(1, 0)
        definitions = (("TILE", TILE), ("SHADING", _FRAME_SHADING[mode]))
        program = self._program("view_box.vert", "view_frame.frag", definitions)
        _set_frame(program, frame)
        red, green, blue = (channel / 255 for channel in CHANGED_TINT)
        _set(program, "tint", red, green, blue, BRIGHTNESS)
        self._draw_box(program)
        if mode is PictureMode.REENCODED:
            self._draw_squares(ANEW, frame.size, place, frame=frame, only_anew=True)
            self._draw_squares(OUTLINE, frame.size, place, only_anew=True)
        elif mode is PictureMode.TOKENS:
            self._draw_squares(OUTLINE, frame.size, place)
        gl.glBindTextureUnit(0, 0)
        gl.glBindSampler(0, 0)

    def _draw_squares(
        self,
        drawn: int,
        size: tuple[int, int],
        place: Place,
        *,
        frame: FrameTexture | None = None,
        only_anew: bool = False,
    ) -> None:
        gl = self._gl
        gl.glBindTextureUnit(2, self.squares.atlas)
        gl.glBindSampler(2, 0)
        self.squares.bind()
        runs = self.squares.by_taps(place.width / size[0]) if drawn == PIXELS else [(1, 0, self.squares.count)]
        for taps, first, count in runs:
            definitions = (("DRAWN", drawn), ("TAPS", taps))
            program = self._program("view_tokens.vert", "view_tokens.frag", definitions)
            if frame is not None:
                _set_frame(program, frame)
            _set(program, "field", *size, place.width, place.height)
            _set(program, "grid", *self.squares.grid)
            gl.glProgramUniform1i(program.name, program.location("only_anew"), int(only_anew))
            gl.glUseProgram(program.name)
            gl.glDrawArraysInstancedBaseInstance(names.TRIANGLE_STRIP, 0, VERTICES[drawn], count, first)

    def _draw_marks(self, shown: Shown, place: Place) -> None:
        gl = self._gl
        gl.glEnable(names.BLEND)
        gl.glBlendFuncSeparate(names.SRC_ALPHA, names.ONE_MINUS_SRC_ALPHA, names.ONE, names.ZERO)
        radius = max(4.0, min(place.width, place.height) / 45)
        reach = radius + 4
        program = self._program("view_box.vert", "view_mark.frag")
        _set(program, "ring", radius, reach, 0, 0)
        for u, v in shown.fixations.tolist():
            across, down = reach / place.width, reach / place.height
            self._draw_box(program, (u - across, v - down, u + across, v + down))
        gl.glDisable(names.BLEND)

    def _draw_box(self, program: Program, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> None:
        gl = self._gl
        _set(program, "box", *box)
        gl.glUseProgram(program.name)
        gl.glBindVertexArray(self._boxes)
        gl.glDrawArrays(names.TRIANGLE_STRIP, 0, 4)

    def _put_tiles(self, tiles: TileMask) -> None:
        gl, size = self._gl, (tiles.shape[1], tiles.shape[0])
        name, known = self._tiles
        if known != size:
            gl.delete(gl.glDeleteTextures, name)
            name = gl.make_texture(TEXTURE_2D, R8, size, filtered=NEAREST)
            self._tiles = (name, size)
        texels = np.where(tiles, np.uint8(255), np.uint8(0))
        gl.glTextureSubImage2D(name, 0, 0, 0, *size, RED, UNSIGNED_BYTE, texels.ctypes.data)


def _set_frame(program: Program, frame: FrameTexture) -> None:
    """What shaders/view_texels.glsl asks for."""
    _set(program, "extent", *frame.size, *frame.storage)
    _set(program, "shown", 0.5 * 2**frame.level, 0, frame.gray, frame.texture_level)


def _set(program: Program, uniform: str, *values: float) -> None:
    program.gl.glProgramUniform4f(program.name, program.location(uniform), *map(float, values))
