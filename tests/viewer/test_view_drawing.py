"""What is drawn, against the pictures that the host draws of the same frame, and what it does not cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from required import unavailable
from viewer.films import pixels

from texvlm import Engine
from texvlm.backends import open_backend
from texvlm.backends.cpu import CpuBackend
from texvlm.backends.cuda.gl_backend import CudaGlBackend
from texvlm.backends.cuda.gl_context import open_current_for
from texvlm.backends.gl import open_current
from texvlm.drawing.pictures import CHANGED_TINT, as_picture, draw_tiles, draw_tokens
from texvlm.drawing.reconstruct import psnr, reconstruct
from texvlm.errors import BackendUnavailable, KernelBuildError
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.native import gl_draw
from texvlm.viewer.native.frame_texture import level_for
from texvlm.viewer.native.painter import Painter
from texvlm.viewer.shown import Shown

pytestmark = pytest.mark.gl
SIZE = (240, 136)


def open_on(surface, name):
    """A backend whose frames can be drawn, or must be copied, on the surface's context."""
    if name == "gl":
        return open_current()
    if name == "cpu":
        return open_backend("cpu").backend
    try:
        driver, compiler = open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
    return CudaGlBackend(driver, compiler, open_current_for(driver), mapping="resident")


class Rig:
    """A film of two frames, drawn."""

    def __init__(self, surface, backend, size=SIZE):
        self.surface, self.size = surface, size
        self.engine = Engine(backend=backend, threshold=0, tokens=60, patch=8, dtype=torch.uint8)
        self.painter = Painter(surface.gl)
        self.number = 0

    def put(self, index, fixation=(0.3, 0.4)):
        tiles = self.engine.submit(pixels(index, self.size)).tiles
        batch = self.engine.tokens(fixation)
        self.number += 1
        self.shown = Shown(self.number, self.number, None, self.size, batch, tiles, np.array([fixation]), "")
        self.painter.put(self.shown)
        return self.shown

    def draw(self, mode, *, marked=False):
        self.painter.draw(self.engine, mode, SIZE, marked=marked)
        out = np.empty((SIZE[1], SIZE[0], 4), np.uint8)
        self.surface.gl.glReadPixels(0, 0, *SIZE, 0x1908, 0x1401, out.ctypes.data)
        return out[::-1, :, :3]

    def close(self):
        self.painter.close()
        self.engine.close()


@pytest.fixture(params=["gl", "cpu", "cuda-host-resident"])
def rig(request, surface):
    backend = open_on(surface, request.param)
    rig = Rig(surface, backend)
    yield rig
    rig.close()
    del rig.shown
    backend.close()


def test_the_frame_is_what_is_stored_to_the_bit(rig):
    for index in (0, 3):
        rig.put(index)
        np.testing.assert_array_equal(rig.draw(PictureMode.FRAME), pixels(index, SIZE))


def test_only_a_backend_without_opengl_copies_its_frames_and_each_once(rig):
    for index in (0, 3):
        rig.put(index)
        for mode in (PictureMode.FRAME, PictureMode.TOKENS, PictureMode.CHANGED, PictureMode.RECONSTRUCTION):
            rig.draw(mode)
    copied = 2 * SIZE[0] * SIZE[1] * 3 if rig.engine.backend_name == "cpu" else 0
    assert rig.painter.frames.bytes_copied == copied


def test_another_engine_with_the_same_frame_is_shown_anew(surface):
    painter = Painter(surface.gl)
    for value in (50, 200):  # as after a change of the threshold
        with Engine(backend="cpu", threshold=0, dtype=torch.uint8) as engine:
            tiles = engine.submit(np.full((SIZE[1], SIZE[0], 3), value, np.uint8)).tiles
            painter.put(Shown(1, 1, None, SIZE, engine.tokens(), tiles, np.empty((0, 2)), ""))
            painter.draw(engine, PictureMode.FRAME, SIZE)
        out = np.empty((SIZE[1], SIZE[0], 4), np.uint8)
        surface.gl.glReadPixels(0, 0, *SIZE, 0x1908, 0x1401, out.ctypes.data)
        assert (out[..., :3] == value).all()
    painter.close()


def test_drawing_samples_and_uploads_nothing(rig):
    rig.put(0)
    before = rig.engine.counters.as_dict()
    for mode in PictureMode:
        rig.draw(mode)
    after = rig.engine.counters.as_dict()
    for name in ("bytes_uploaded", "tokens_sampled", "texels_rebuilt", "tiles_compared"):
        assert after[name] == before[name]


def test_the_reconstruction_is_that_of_the_host_but_where_sizes_meet(rig):
    shown = rig.put(2)
    drawn, there = rig.draw(PictureMode.RECONSTRUCTION), reconstruct(shown.batch)
    assert psnr(drawn, there) > 37
    middle = np.abs(drawn[40:60, 60:90].astype(int) - there[40:60, 60:90])  # where tokens are as fine as the frame
    assert middle.max() <= 2
    assert not (drawn == (24, 24, 24)).all(axis=-1).any()


def test_changed_tiles_are_tinted_as_the_host_tints_them(rig):
    rig.put(0)
    shown = rig.put(3)
    assert 0 < shown.tiles.mean() < 1
    there = draw_tiles(as_picture(pixels(3, SIZE)), shown.tiles, frame_size=SIZE)
    assert np.abs(rig.draw(PictureMode.CHANGED).astype(int) - there).max() <= 1
    assert CHANGED_TINT == (255, 140, 40)


def test_squares_lie_where_the_host_draws_them(rig):
    shown = rig.put(2)
    there = draw_tokens(as_picture(pixels(2, SIZE)), shown.batch.table[0], frame_size=SIZE, patch=8)
    drawn = rig.draw(PictureMode.TOKENS)
    far = np.abs(drawn.astype(int) - there).max(axis=-1) > 3
    assert far.mean() < 0.01
    lines = np.abs(there.astype(int) - pixels(2, SIZE) * 0.55).max(axis=-1) > 12
    assert lines.mean() > 0.05
    assert far[lines].mean() < 0.05


def test_tokens_sampled_anew_show_the_frame_and_others_are_dark(rig):
    rig.put(0)
    shown = rig.put(3)
    dirty = shown.batch.dirty[0].numpy()
    assert 0 < dirty.mean() < 1
    drawn, frame = rig.draw(PictureMode.REENCODED), pixels(3, SIZE)
    table = shown.batch.table[0]
    for row, anew in zip(table, dirty, strict=True):
        x, y = int(row["x"]), int(row["y"])
        if row["valid"] == 1 and row["side"] >= 8:
            gray = round(float(frame[y, x] @ [0.15, 0.295, 0.055]))
            expected = frame[y, x].astype(int) if anew else np.full(3, gray)
            assert np.abs(drawn[y, x] - expected).max() <= 1


def test_side_by_side_shows_both_and_a_mark_in_each(rig):
    rig.put(1)
    bare, marked = rig.draw(PictureMode.BOTH), rig.draw(PictureMode.BOTH, marked=True)
    differs = (bare != marked).any(axis=-1)
    assert differs[:, : SIZE[0] // 2].any()
    assert differs[:, SIZE[0] // 2 :].any()
    assert (bare[0] == 20).all()  # paper above the pictures


def test_words_lie_over_the_picture(rig):
    rig.put(1)
    rig.draw(PictureMode.FRAME)
    words = np.zeros((10, 20, 4), np.uint8)
    words[..., 0], words[2:4, :, 3] = 255, 255
    for size in ((10, 20), (12, 20)):  # of another size, too
        rig.painter.put_words(0, np.resize(words, (*size, 4)))
    rig.painter.put_words(0, words)
    rig.painter.draw_words(0, (5, 7), SIZE)
    out = np.empty((SIZE[1], SIZE[0], 4), np.uint8)
    rig.surface.gl.glReadPixels(0, 0, *SIZE, 0x1908, 0x1401, out.ctypes.data)
    drawn = out[::-1, :, :3]
    assert (drawn[9:11, 5:25] == (255, 0, 0)).all()
    np.testing.assert_array_equal(drawn[7:9], pixels(1, SIZE)[7:9])


@pytest.mark.parametrize("size", [(37, 1), (1, 29), (501, 333), (16, 16)])
def test_frames_of_any_shape_are_drawn_in_every_mode(surface, size):
    backend = open_current()
    rig = Rig(surface, backend, size)
    rig.engine.close()
    rig.engine = Engine(backend=backend, threshold=0, patch=8, dtype=torch.uint8)  # pads where a frame is small
    tiles = rig.engine.submit(np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)).tiles
    shown = Shown(1, 1, None, size, rig.engine.tokens(), tiles, np.empty((0, 2)), "")
    rig.painter.put(shown)
    for mode in PictureMode:
        drawn = rig.draw(mode)
        if mode in (PictureMode.FRAME, PictureMode.RECONSTRUCTION):
            place = drawn[SIZE[1] // 2, SIZE[0] // 2]
            assert np.abs(place.astype(int) - (200, 100, 50)).max() <= 1
            scale = min(SIZE[0] / size[0], SIZE[1] / size[1])
            seen = (np.abs(drawn.astype(int) - (200, 100, 50)).max(axis=-1) <= 1).sum()
            assert seen == max(1, round(size[0] * scale)) * max(1, round(size[1] * scale))
    rig.close()
    del shown
    backend.close()


def test_nothing_is_left_behind(surface):
    backend = open_current()
    live = dict(backend._context.live)
    made = []
    for _ in range(2):
        rig = Rig(surface, backend)
        rig.put(0)
        for mode in PictureMode:
            rig.draw(mode)
        made.append((rig.painter.squares.atlas, rig.painter._tiles[0]))
        rig.close()
        del rig.shown, rig
    assert all(not surface.gl.glIsTexture(name) for names in made for name in names)
    backend.close()
    assert {name: count for name, count in backend._context.live.items() if count} == live


def test_what_follows_a_closed_viewer_finds_nothing_wrong(surface, caplog):
    backend = open_current()
    rig = Rig(surface, backend)
    rig.put(0)
    rig.draw(PictureMode.TOKENS)
    rig.painter.close()
    for k in (1, 2):  # the first call would leave an error, and the second find it
        rig.engine.submit(pixels(k, SIZE))
    rig.engine.close()
    del rig
    backend.close()
    assert not caplog.records


def test_before_the_first_picture_there_is_paper(surface):
    painter = Painter(surface.gl)
    with Engine(backend="cpu") as engine:
        painter.draw(engine, PictureMode.FRAME, SIZE)
    out = np.empty((SIZE[1], SIZE[0], 4), np.uint8)
    surface.gl.glReadPixels(0, 0, *SIZE, 0x1908, 0x1401, out.ctypes.data)
    assert (out[..., :3] == 20).all()
    painter.close()


def test_a_shader_that_does_not_compile_is_named_with_its_line(surface, monkeypatch):
    real = gl_draw.assemble

    def broken(file, definitions):
        text, files = real(file, definitions)
        return text.replace("colour = vec4(rgb, 1.0);", "colour = nonsense;"), files

    monkeypatch.setattr(gl_draw, "assemble", broken)
    with pytest.raises(
        KernelBuildError, match=r"view_frame\.frag does not compile: [\s\S]*view_frame\.frag:\d+.*nonsense"
    ):
        gl_draw.build_drawing(surface.gl, "view_box.vert", "view_frame.frag", (("TILE", 16), ("SHADING", 0)))


def test_a_level_is_chosen_by_how_small_the_frame_is_drawn():
    with Engine((1920, 1080), backend=CpuBackend()) as engine:
        engine.submit(np.zeros((1080, 1920, 3), np.uint8))
        spec = engine.spec
        engine._backend.close()
    assert [level_for(ratio, spec) for ratio in (0.2, 1, 1.5, 2, 3, 4)] == [0, 0, 0, 1, 1, 2]
    assert level_for(1e9, spec) == spec.levels - 1
