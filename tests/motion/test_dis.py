"""DIS flow: known motion is found, on any level; state per source; refusals."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import endpoint_error, pair, similarity, texels, texture, true_field

from texvlm import Engine
from texvlm.errors import FlowUnavailable
from texvlm.motion import DisFlow, MotionField, MotionSource, moment_of

SIZE = (192, 128)


@pytest.mark.parametrize(
    ("motion", "within"),
    [
        ({"shift": (6, -3)}, 0.05),
        ({"shift": (0.5, 0.25)}, 0.05),
        ({"zoom": 1.04}, 0.1),
        ({"turn": 0.04}, 0.1),
        ({"zoom": 0.97, "turn": -0.02, "shift": (2.5, 1)}, 0.1),
    ],
)
def test_known_motion_is_found(motion, within):
    matrix = similarity(SIZE, **motion)
    field = DisFlow().between(*pair(SIZE, matrix))
    assert field.valid_share > 0.8
    off = endpoint_error(field, true_field(SIZE, matrix))
    assert np.median(off) < within
    assert np.percentile(off, 90) < 0.5  # the edge is less sure


@settings(max_examples=15, deadline=None)
@given(shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
def test_the_field_of_a_shifted_picture_is_that_shift(shift):
    matrix = similarity(SIZE, shift=shift)
    off = endpoint_error(DisFlow(check=False).between(*pair(SIZE, matrix)), true_field(SIZE, matrix))
    assert np.median(off) < 0.1


def test_flow_of_a_mip_level_is_in_texels_of_the_frame(rng):
    size = (512, 384)
    matrix = similarity(size, shift=(12, -8))
    new, reference = (
        texture(places / 4) for places in (texels(size) + np.array([12, -8]), texels(size))
    )  # detail that survives two levels
    coarse = [picture.reshape(96, 4, 128, 4).mean(axis=(1, 3)) for picture in (new, reference)]
    field = DisFlow().between(*coarse, size=size)
    assert field.size == size
    assert field.cell == (16, 16)
    assert np.median(endpoint_error(field, true_field(size, matrix))) < 0.3


def test_a_seed_finds_what_lies_beyond_the_search():
    size = (96, 64)
    matrix = similarity(size, shift=(30, 0))
    seed = true_field(size, matrix)
    plain = DisFlow(check=False).between(*pair(size, matrix))
    seeded = DisFlow(check=False).between(*pair(size, matrix), seed=seed)
    assert np.median(endpoint_error(seeded, seed)) < 0.5
    assert np.median(endpoint_error(plain, seed)) > 2


def test_what_was_hidden_is_not_valid():
    size = (192, 128)
    reference = texture(texels(size))
    new = reference.copy()
    patch = texture(texels((64, 64)) + 500)
    reference[32:96, 48:112] = patch
    new[32:96, 64:128] = patch  # it moved right by 16: columns 48..64 are uncovered
    field = DisFlow(cell=(8, 8)).between(new, reference)
    uncovered, inside, far = field.valid[4:12, 6:8], field.valid[7:12, 9:14], field.valid[:, 18:]
    assert uncovered.mean() < 0.4
    assert inside.mean() > 0.9
    assert far.mean() > 0.95
    np.testing.assert_allclose(np.median(field.flow[7:12, 9:14], axis=(0, 1)), (-16, 0), atol=0.2)
    assert field.error is not None
    assert field.error[4:12, 6:8].mean() > 4 * field.error[7:12, 9:14].mean()


def test_every_source_has_its_own_last_frame():
    flow = DisFlow()
    assert isinstance(flow, MotionSource)
    places = texels(SIZE)
    with Engine(SIZE, sources=2, backend="cpu", channels=1, threshold=0) as engine:

        def show(shift: float, source: int) -> MotionField | None:
            engine.submit((texture(places + np.array([shift, 0])) * 255).astype(np.uint8)[..., None], source)
            return flow(moment_of(engine, source))

        assert show(0, 0) is None
        assert show(100, 1) is None
        first, second = show(3, 0), show(98, 1)
        assert np.median(first.flow[..., 0]) == pytest.approx(3, abs=0.05)
        assert np.median(second.flow[..., 0]) == pytest.approx(-2, abs=0.05)
        still = show(3, 0)
        assert abs(still.flow).max() < 0.05
        flow.reset(0)
        assert show(5, 0) is None
        assert show(96, 1) is not None
        flow.reset()
        assert show(95, 1) is None
        flow.reset(7)


def test_a_frame_of_another_size_starts_anew():
    flow = DisFlow()
    with Engine(SIZE, backend="cpu", channels=1) as engine:
        for size in (SIZE, (96, 64), (96, 64)):
            engine.submit((texture(texels(size)) * 255).astype(np.uint8)[..., None])
            field = flow(moment_of(engine))
        assert field is not None
        assert field.size == (96, 64)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (40, 6), (17, 33)])
def test_the_smallest_frames_have_a_field(size):
    picture = texture(texels(size))
    field = DisFlow().between(picture, picture)
    assert field.size == size
    assert abs(field.flow).max() < 0.05


def test_flat_frames_stand_still():
    flat = np.full((64, 96), 0.5, np.float32)
    field = DisFlow().between(flat, flat)
    assert field.valid.all()
    assert not field.flow.any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: DisFlow(preset="best"), "preset is 'best'; accepted: ultrafast, fast, medium"),
        (lambda: DisFlow(longest=4), "longest is 4"),
        (lambda: DisFlow().between(np.zeros((8, 9)), np.zeros((9, 8))), r"pictures of \(8, 9\) and \(9, 8\)"),
        (
            lambda: DisFlow().between(np.zeros((8, 9)), np.zeros((8, 9)), size=(50, 50)),
            "a picture of 9 x 8 for a frame of 50 x 50; accepted: a mip level of it",
        ),
        (
            lambda: DisFlow().between(np.zeros((8, 9)), np.zeros((8, 9)), seed=MotionField.zero((16, 16))),
            "of a 16 x 16 frame for one of 9 x 8",
        ),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_without_opencv_it_says_what_to_install(monkeypatch):
    known = builtins.__import__

    def no_opencv(name, *rest, **more):
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'", name="cv2")
        return known(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_opencv)
    with pytest.raises(FlowUnavailable, match=r'pip install "texvlm\[flow\]"'):
        DisFlow()
