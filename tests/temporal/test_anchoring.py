"""Content anchors: tokens keep their content under a pan, and only what enters is encoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reuse_scenes import small_vit

from texvlm import Engine
from texvlm.layouts import Focus, UniformGrid
from texvlm.layouts.anchored import AnchoredGrid
from texvlm.motion import CameraMotion, MotionField, camera_motion
from texvlm.temporal.anchoring import LAG, ContentAnchor
from texvlm.temporal.encoder import TemporalEncoder
from texvlm.temporal.settings import TemporalSettings

SIZE = (320, 192)
FOCUS = Focus(np.array([[0.0, 0.0]]))


def camera(x=0.0, y=0.0, *, grown=1.0, size=SIZE) -> CameraMotion:
    """The motion of content that goes by (x, y) and grows around the origin."""
    field = MotionField.zero(size)
    places = field.centres()
    field.flow[...] = (places - (x, y)) / grown - places
    return camera_motion(field)


def test_the_grid_goes_where_the_content_goes():
    anchor = ContentAnchor(AnchoredGrid(side=16), lag=0)
    assert anchor.place(0, SIZE).anew
    for _ in range(7):
        step = anchor.place(0, SIZE, camera(-3.3, 1.25))
    assert step.moving
    assert step.layout.origin == pytest.approx((7 * -3.3, 7 * 1.25), abs=1e-3)
    flow, known = step.motion.at([(100.0, 50.0)])
    assert known.all()
    assert flow[0] == pytest.approx((3.3, -1.25), abs=1e-4)
    assert step.lag == (0, 0)


def test_what_the_model_is_told_stays_within_the_lag_and_is_mostly_still():
    side = 32
    anchor = ContentAnchor(AnchoredGrid(side=side))
    anchor.place(0, SIZE)
    told, previous = 0, None
    for _ in range(24):
        step = anchor.place(0, SIZE, camera(-3.3, 0.4))
        assert max(map(abs, step.lag)) <= LAG * side + 1e-3
        table = step.layout.plan(SIZE, FOCUS)
        told_table = step.told(table)
        places = {(row["x"], row["y"]) for row in told_table if row["layer"] >= 0}
        if step.told_motion is not None:
            told += 1
        else:  # to the bit where they were, but for what entered or left
            assert previous is None or len(places & previous) >= 0.8 * len(places)
        previous = places
    assert 1 <= told <= 24 * 3.3 / (2 * LAG * side) + 1


def test_zoom_is_followed_where_there_is_room_and_then_laid_anew():
    anchor = ContentAnchor(AnchoredGrid(side=16, zoom=True))
    anchor.place(0, SIZE)
    steps = [anchor.place(0, SIZE, camera(grown=1.06)) for _ in range(6)]
    assert [step.anew for step in steps] == [False] * 5 + [True]
    assert steps[4].layout.scale == pytest.approx(1.06**5, rel=1e-3)
    assert steps[5].layout.scale == 1


@pytest.mark.parametrize("seen", [None, camera(grown=1.0, x=0.05)])
def test_it_rests_with_the_camera_and_where_nothing_is_known(seen):
    anchor = ContentAnchor(AnchoredGrid(side=16))
    anchor.place(0, SIZE)
    step = anchor.place(0, SIZE, seen)
    assert not step.moving
    assert step.motion is None
    assert step.layout.origin == (0, 0)


def test_slow_motion_is_saved_up():
    anchor = ContentAnchor(AnchoredGrid(side=16), lag=0)
    anchor.place(0, SIZE)
    for _ in range(40):
        step = anchor.place(0, SIZE, camera(0.1))
    assert step.layout.origin[0] == pytest.approx(4, abs=0.3)


def test_motion_on_which_cells_disagree_and_turns_are_not_followed():
    rng = np.random.default_rng(0)
    chaos = MotionField.zero(SIZE)
    chaos.flow[...] = rng.normal(0, 40, chaos.flow.shape)
    turn = MotionField.zero(SIZE)
    x, y = np.moveaxis(turn.centres() - np.array(SIZE) / 2, -1, 0)
    turn.flow[...] = np.stack([-0.2 * y, 0.2 * x], axis=-1)
    anchor = ContentAnchor(AnchoredGrid(side=16))
    anchor.place(0, SIZE)
    for field in (chaos, turn):
        assert not anchor.place(0, SIZE, camera_motion(field)).moving


def test_sources_are_apart_and_a_reset_or_another_size_lays_the_grid_anew():
    anchor = ContentAnchor(AnchoredGrid(side=16))
    for source in (0, 1):
        anchor.place(source, SIZE)
    anchor.place(0, SIZE, camera(5))
    assert anchor.place(1, SIZE).layout.origin == (0, 0)
    anchor.reset(0)
    anchor.reset(9)
    assert anchor.sources == {1}
    assert anchor.place(0, SIZE, camera(5)).anew
    assert anchor.place(0, (100, 100)).anew
    with pytest.raises(ValueError, match="a motion field"):
        anchor.place(0, (100, 100), camera(5))


def _pan_clip(frames, step):
    """Crops of a still picture of smooth texture, moving by `step` texels a frame; made at 3 times the size."""
    rng = np.random.default_rng(3)
    rows, columns = 3 * SIZE[1], 3 * (SIZE[0] + int(step * frames) + 2)
    coarse = torch.from_numpy(rng.random((1, 3, rows // 72 + 1, columns // 72 + 1), np.float32))
    still = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic").clamp(0, 1)
    for at in range(frames):
        left = round(3 * step * at)
        window = still[:, :, :, left : left + 3 * SIZE[0]]
        small = torch.nn.functional.avg_pool2d(window, 3)[0].permute(1, 2, 0)
        yield (255 * small).round().to(torch.uint8).numpy()


def test_under_a_pan_only_what_enters_and_leaves_is_encoded():
    encoder = small_vit(image_size=64, patch=8, patch_size=8)
    settings = TemporalSettings("test", gate=0.05, max_age=None, cut_bar=None, full_share=1, motion_ms=None)
    side, frames = 32, 8
    counted, cosines = {}, []
    for name in ("same place", "anchored"):
        grid = AnchoredGrid(patch=8, side=side) if name == "anchored" else None
        temporal = TemporalEncoder(encoder, settings, motion="dis" if grid else None, grid=grid)
        layout = UniformGrid(patch=8, side=side)
        with Engine(layout=layout, backend="cpu", threshold=0, mean=encoder.mean, std=encoder.std) as engine:
            for at, frame in enumerate(_pan_clip(frames, 10 / 3)):
                engine.submit(frame, pts=at / 25)
                out = temporal.step(engine)
                counted.setdefault(name, []).append(out.reports[0].tokens_encoded)
                if grid is not None:
                    table = out.features.rows
                    held = ~out.features.padding[0].numpy()
                    origin = (table["x"][0][held][0] - side / 2, table["y"][0][held][0] - side / 2)
                    exact = AnchoredGrid(patch=8, side=side, origin=tuple(map(float, origin)))
                    with torch.no_grad():
                        full = encoder(engine.tokens(layout=exact))
                    assert np.allclose(full.rows["x"], table["x"], atol=1e-3)
                    cosine = torch.cosine_similarity(out.features.tokens[0][held], full.tokens[0][held], dim=-1)
                    cosines.append(float(cosine.mean()))
    columns, rows = SIZE[0] // side, SIZE[1] // side
    print(f"\ntokens encoded a frame, of {columns * rows}: {counted}; cosines {min(cosines):.4f}")
    same, anchored = (np.mean(counted[name][2:]) for name in ("same place", "anchored"))
    assert same > 0.9 * columns * rows
    assert anchored <= 3 * (rows + 1)  # the column that enters, the one that leaves, and a row's worth of doubt
    assert min(cosines) > 0.98


class Told:
    """A motion source that knows: content goes by (x, y) in every frame."""

    name = "told"

    def __init__(self, x, y):
        self.flow = (-x, -y)

    def __call__(self, moment):
        field = MotionField.zero(moment.size)
        field.flow[...] = self.flow
        return field

    def reset(self, source=None):
        pass


def test_detail_as_fine_as_texels_is_followed_too():
    """Tokens sampled from texels as large as their pixels would all change with every step that is no multiple."""
    encoder = small_vit(image_size=64, patch=8, patch_size=8)
    settings = TemporalSettings("test", moving_threshold=0.5, max_age=None, cut_bar=None, full_share=1, motion_ms=None)
    side, steps = 32, 8
    still = np.random.default_rng(6).integers(0, 256, (SIZE[1] + steps, SIZE[0] + 3 * steps, 3), np.uint8)
    counted = []
    temporal = TemporalEncoder(encoder, settings, motion=Told(-3.0, -1.0), grid=AnchoredGrid(patch=8, side=side))
    with Engine(layout=UniformGrid(patch=8, side=side), backend="cpu", threshold=0) as engine:
        for at in range(steps):
            engine.submit(np.ascontiguousarray(still[at : at + SIZE[1], 3 * at : 3 * at + SIZE[0]]), pts=at / 25)
            counted.append(temporal.step(engine).reports[0].tokens_encoded)
    assert max(counted[1:]) <= 2 * (SIZE[0] + SIZE[1]) // side + 4, counted  # along the edges
