"""Videos as planes: the decoder's own codes, upright, with the colour that the file states."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from clips import SIZE, corners, turn_mp4, write_clip
from test_video import TURNS, tagged

from texvlm import Engine
from texvlm.errors import SourceError
from texvlm.sources import open_source, open_yuv_video
from texvlm.sources.planes import PlaneMaker


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("size", [(160, 96), (48, 32), (33, 21)])
@pytest.mark.parametrize(
    ("codec", "pixel_format", "bits"),
    [("ffv1", "yuv420p", 8), ("ffv1", "yuv420p10le", 10), ("rawvideo", "nv12", 8)],
)
def test_planes_are_those_of_the_decoder(tmp_path, codec, pixel_format, bits, size):
    container = "nut" if codec == "rawvideo" else "mkv"
    path = write_clip(tmp_path / f"a.{container}", codec=codec, pixel_format=pixel_format, frames=2, size=size)
    with open_yuv_video(path) as source:
        assert source.size == size
        frames = list(source)
    for frame, expected in zip(frames, decoded(path), strict=True):
        assert (frame.size, frame.bits, frame.range) == (size, bits, "limited")
        columns, lines = -(-size[0] // 2), -(-size[1] // 2)
        shift = 6 if pixel_format == "yuv420p10le" else 0
        kind = np.uint8 if bits == 8 else np.uint16
        planes = [np.frombuffer(p, kind).reshape(p.height, -1) << shift for p in expected.planes]
        np.testing.assert_array_equal(frame.y, planes[0][: size[1], : size[0]])
        if len(planes) == 3:
            np.testing.assert_array_equal(frame.uv[..., 0], planes[1][:lines, :columns])
            np.testing.assert_array_equal(frame.uv[..., 1], planes[2][:lines, :columns])
        else:
            np.testing.assert_array_equal(frame.uv.reshape(lines, -1), planes[1][:lines, : 2 * columns])


def test_ten_bits_are_the_same_interleaved_or_not(tmp_path):
    path = write_clip(tmp_path / "a.mkv", codec="ffv1", pixel_format="yuv420p10le", frames=1, size=(34, 22))
    (apart,) = decoded(path)
    together = apart.reformat(format="p010le")
    assert [len(apart.planes), len(together.planes)] == [3, 2]
    frames = []
    for given in (apart, together):
        maker = PlaneMaker("a", matrix="bt709", range="limited", motion_vectors=False)
        frames.append(maker.make(given, 1.5))
    np.testing.assert_array_equal(frames[0].y, frames[1].y)
    np.testing.assert_array_equal(frames[0].uv, frames[1].uv)
    assert frames[0].y.max() > 1023  # the value lies in the upper bits


def test_frames_keep_their_pixels_when_the_next_one_is_decoded(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=8)
    with open_yuv_video(path) as source:
        first = next(source)
        before = first.y.copy(), first.uv.copy()
        rest = list(source)
    np.testing.assert_array_equal(first.y, before[0])
    np.testing.assert_array_equal(first.uv, before[1])
    assert not any(np.shares_memory(first.y, other.y) for other in rest)


def test_times_kinds_and_counts_are_those_of_the_rgb_source(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=12, options={"bf": "2", "g": "12"})
    with (
        open_yuv_video(path, every=3, motion_vectors=True) as source,
        open_source(path, every=3, motion_vectors=True) as rgb,
    ):
        assert source.info == rgb.info
        for frame, expected in zip(source, rgb, strict=True):
            assert (frame.pts, frame.kind) == (expected.pts, expected.kind)
            assert (frame.motion is None) == (expected.motion is None)
            if frame.motion is not None and expected.motion is not None:
                np.testing.assert_array_equal(frame.motion.motion, expected.motion.motion)
        assert source.describe() == rgb.describe()


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_planes_are_turned_as_the_file_says(tmp_path, name, pixel_format):
    matrix, expected = TURNS[name]
    path = turn_mp4(write_clip(tmp_path / "r.mp4", frames=2, pixel_format=pixel_format), matrix)
    with open_yuv_video(path) as source:
        frames = list(source)
    assert source.size == frames[0].size == (SIZE[::-1] if matrix[0] == 0 else SIZE)
    assert [corners(frame.to_frame().pixels) for frame in frames] == [expected, expected]


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(("number", "matrix"), [(1, "bt709"), (5, "bt601"), (6, "bt601"), (9, "bt2020")])
def test_colour_follows_the_tags_unless_it_is_given(tmp_path, number, matrix, full):
    path = tagged(tmp_path / "c.mp4", matrix=number, full=full)
    stated = "full" if full else "limited"
    with open_yuv_video(path) as source:
        frame = next(source)
    assert (frame.matrix, frame.range) == (matrix, stated)
    assert (frame.y[20, 20], *frame.uv[10, 10]) == (150, 90, 180)
    if number != 9:  # the scaler behind RGB frames knows these two
        with open_source(path) as rgb:
            np.testing.assert_allclose(frame.to_frame().pixels[20, 20], next(rgb).pixels[20, 20], atol=2)
    with open_yuv_video(path, matrix="bt601", range="limited") as source:
        given = next(source)
    assert (given.matrix, given.range) == ("bt601", "limited")


@pytest.mark.parametrize(("size", "matrix"), [((160, 96), "bt601"), ((1280, 720), "bt709")])
def test_a_video_that_states_no_colour_is_taken_as_players_take_it(tmp_path, size, matrix):
    path = write_clip(tmp_path / "a.mp4", frames=1, size=size)
    with open_yuv_video(path) as source:
        frame = next(source)
    assert (frame.matrix, frame.range) == (matrix, "limited")


def test_an_engine_takes_planes_like_any_frame(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=2)
    with open_yuv_video(path) as source, Engine(backend="cpu", threshold=0, tokens=16) as engine:
        for frame in source:
            report = engine.submit(frame)
            tokens = engine.tokens()
        assert report.tiles_dirty > 0
    with Engine(backend="cpu", threshold=0, tokens=16) as other:
        other.submit(frame.to_frame())
        assert (other.tokens().pixels == tokens.pixels).all()
        assert tokens.pts[0] == frame.pts


def test_what_has_no_such_planes_is_refused(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=1, pixel_format="yuv444p")
    with pytest.raises(SourceError, match=r"pixel format yuv444p; accepted as planes: yuv420p, .*; open_source takes"):
        open_yuv_video(path)
    path = tagged(tmp_path / "c.mp4", matrix=7, full=False)
    with pytest.raises(SourceError, match=r"colour matrix is number 7 of .*; accepted are bt601, bt709 and bt2020"):
        open_yuv_video(path)
    with open_yuv_video(path, matrix="bt709") as source:
        assert next(source).matrix == "bt709"
    with pytest.raises(SourceError, match="no such file"):
        open_yuv_video(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="every is 0"):
        open_yuv_video(path, every=0)
