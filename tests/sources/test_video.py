"""Video files: order, times, colour, orientation, and everything that can be wrong with a file."""

from __future__ import annotations

import gc
import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from clips import SIZE, corners, picture, turn_mp4, write_clip

from texvlm.errors import SourceError
from texvlm.sources import open_source

LOSSLESS = {"qp": "0"}


def read(path: Path, **options: object) -> list:
    with open_source(path, **options) as source:
        return list(source)


def test_frames_come_in_display_order_with_times_and_kinds(tmp_path):
    path = write_clip(tmp_path / "a.mp4", options={"bf": "2", "g": "12"})
    with open_source(path) as source:
        assert (source.size, source.frames, source.rate) == (SIZE, 12, 30.0)
        assert source.duration == pytest.approx(0.4)
        frames = list(source)
        assert source.describe()["delivered"] == 12
    np.testing.assert_allclose([f.pts for f in frames], np.arange(12) / 30, atol=1e-9)
    assert frames[0].kind == "I"
    assert {"P", "B"} <= {f.kind for f in frames}
    assert all(f.pixels.dtype == np.uint8 and f.pixels.flags.c_contiguous for f in frames)
    assert all(f.pixels.shape == (SIZE[1], SIZE[0], 3) for f in frames)
    assert corners(frames[0].pixels) == "rgbw"


def test_pixels_survive_a_lossless_rgb_codec_exactly(tmp_path):
    path = write_clip(tmp_path / "a.mkv", codec="ffv1", pixel_format="bgr0", frames=3)
    for index, frame in enumerate(read(path)):
        np.testing.assert_array_equal(frame.pixels, picture(index))


def test_variable_frame_rate_keeps_the_real_times(tmp_path):
    times = [0, 1, 2, 30, 31, 90, 91, 92, 300]
    path = write_clip(tmp_path / "v.mkv", frames=len(times), times=times, rate=100)
    frames = read(path)
    np.testing.assert_allclose([f.pts for f in frames], np.array(times) / 100, atol=1e-6)


def test_every_nth_frame_keeps_its_own_time(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=11)
    with open_source(path, every=4) as source:
        assert source.frames == 3
        assert source.rate == 7.5
        frames = list(source)
        assert source.describe()["decoded"] == 11
    np.testing.assert_allclose([f.pts for f in frames], np.array([0, 4, 8]) / 30, atol=1e-9)


def test_decoding_twice_gives_the_same_frames(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=40, options={"bf": "3"})
    first, second = read(path), read(path)
    assert len(first) == len(second) == 40
    for a, b in zip(first, second, strict=True):
        assert a.pts == b.pts
        np.testing.assert_array_equal(a.pixels, b.pixels)


TURNS = {  # display matrix (a, b, c, d) -> corners of the displayed picture, reading order
    "upright": ((1, 0, 0, 1), "rgbw"),
    "90 clockwise": ((0, 1, -1, 0), "brwg"),
    "180": ((-1, 0, 0, -1), "wbgr"),
    "90 counter-clockwise": ((0, -1, 1, 0), "gwrb"),
    "mirrored": ((-1, 0, 0, 1), "grwb"),
    "transposed": ((0, 1, 1, 0), "rbgw"),
}


@pytest.mark.parametrize("name", TURNS)
def test_the_display_matrix_is_applied(tmp_path, name):
    matrix, expected = TURNS[name]
    path = turn_mp4(write_clip(tmp_path / "r.mp4", frames=2), matrix)
    with open_source(path) as source:
        frames = list(source)
    swapped = matrix[0] == 0
    assert source.size == frames[0].size == (SIZE[::-1] if swapped else SIZE)
    assert [corners(f.pixels) for f in frames] == [expected, expected]
    assert frames[1].pixels.flags.c_contiguous


def test_gray_and_rgba_frames_on_request(tmp_path):
    path = turn_mp4(write_clip(tmp_path / "a.mp4", frames=1), (0, 1, -1, 0))
    gray, rgb, rgba = (read(path, channels=c)[0].pixels for c in (1, 3, 4))
    assert (gray.shape, rgba.shape) == ((160, 96, 1), (160, 96, 4))
    np.testing.assert_array_equal(rgba[..., :3], rgb)
    assert (rgba[..., 3] == 255).all()
    luma = rgb.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(gray[..., 0] - luma).mean() < 3


def tagged(path: Path, *, matrix: int, full: bool) -> Path:
    """One flat picture of Y 150, U 90, V 180, with its matrix and range stated."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.options = {"qp": "0", "bf": "0"}
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1
        planes = np.concatenate([np.full(64 * 64, 150), np.full(32 * 32, 90), np.full(32 * 32, 180)]).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(planes.reshape(96, 64), "yuv420p")
        frame.pts, frame.colorspace, frame.color_range = 0, matrix, 2 if full else 1
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114)], ids=["bt709", "bt601"])
def test_colour_matrix_and_range_follow_the_tags(tmp_path, matrix, kr, kb, full):
    pixels = read(tagged(tmp_path / "c.mp4", matrix=matrix, full=full))[0].pixels
    y = 150.0 if full else (150 - 16) * 255 / 219
    u, v = ((c - 128) * (1 if full else 255 / 224) for c in (90, 180))
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    np.testing.assert_allclose(pixels[20, 20], np.clip([red, green, blue], 0, 255), atol=2)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [
        ("libx264", "yuv420p10le", "mp4"),
        ("libx264", "yuv444p", "mp4"),
        ("libx265", "yuv420p10le", "mp4"),
        ("ffv1", "yuv422p16le", "mkv"),
        ("ffv1", "gray", "mkv"),
        ("mjpeg", "yuvj422p", "mov"),
        ("libvpx-vp9", "yuv420p", "webm"),
        ("mpeg4", "yuv420p", "avi"),
        ("mpeg2video", "yuv420p", "ts"),
    ],
)
def test_codecs_and_pixel_formats_become_8_bit_rgb(tmp_path, codec, pixel_format, suffix):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_clip(
        tmp_path / f"a.{suffix}",
        frames=4,
        codec=codec,
        pixel_format=pixel_format,
        options=options,
        draw=lambda i: np.full((SIZE[1], SIZE[0], 3), 40 + 40 * i, np.uint8),
    )
    means = [float(f.pixels.mean()) for f in read(path)]
    np.testing.assert_allclose(means, [40, 80, 120, 160], atol=6)


@pytest.mark.parametrize("size", [(33, 21), (17, 50), (161, 97), (2, 2), (1, 1)])
def test_odd_sizes(tmp_path, size):
    path = write_clip(
        tmp_path / "odd.mkv", codec="ffv1", pixel_format="bgr0", frames=2, size=size, draw=lambda i: picture(i, size)
    )
    with open_source(path) as source:
        assert source.size == size
        for index, frame in enumerate(source):
            np.testing.assert_array_equal(frame.pixels, picture(index, size))


def test_odd_sizes_in_a_subsampled_format(tmp_path):
    size = (47, 31)
    path = write_clip(tmp_path / "odd.mkv", codec="ffv1", frames=1, size=size)
    assert read(path)[0].size == size
    assert corners(read(path)[0].pixels) == "rgbw"


def with_alpha(index: int) -> np.ndarray:
    rgba = np.concatenate([picture(index), np.zeros((*SIZE[::-1], 1), np.uint8)], -1)
    rgba[:, :, 3] = np.linspace(0, 255, SIZE[0]).astype(np.uint8)
    return rgba


@pytest.mark.parametrize(("codec", "suffix"), [("qtrle", "mov"), ("png", "mov"), ("ffv1", "mkv")])
def test_alpha_is_kept_for_four_channels_and_dropped_for_three(tmp_path, codec, suffix):
    path = write_clip(
        tmp_path / f"a.{suffix}",
        codec=codec,
        pixel_format={"qtrle": "argb", "png": "rgba", "ffv1": "bgra"}[codec],
        frames=2,
        draw=with_alpha,
        draw_format="rgba",
    )
    for index, (rgb, rgba) in enumerate(zip(read(path), read(path, channels=4), strict=True)):
        np.testing.assert_array_equal(rgba.pixels, with_alpha(index))
        np.testing.assert_array_equal(rgb.pixels, picture(index))


def test_webm_alpha_is_kept(tmp_path):
    path = write_clip(
        tmp_path / "a.webm", codec="libvpx-vp9", pixel_format="yuva420p", frames=2, draw=with_alpha, draw_format="rgba"
    )
    alpha = read(path, channels=4)[1].pixels[..., 3].astype(int)
    assert np.abs(alpha - with_alpha(1)[..., 3].astype(int)).mean() < 4
    assert read(path)[1].channels == 3


def test_the_widest_video_stream_is_read_unless_one_is_named(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = []
        for width in (64, 128):
            stream = output.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            streams.append(stream)
        for index in range(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(picture(index, (stream.width, 48)), "rgb24")
                frame.pts = index
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    assert {f.size for f in read(path)} == {(128, 48)}
    assert {f.size for f in read(path, stream=0)} == {(64, 48)}
    with pytest.raises(SourceError, match=r"two\.mkv: stream 7 is no video; video streams: \[0, 1\]"):
        open_source(path, stream=7)


def test_a_frame_size_that_changes_on_the_way(tmp_path):
    parts = [
        write_clip(tmp_path / f"{w}.ts", size=(w, 64), frames=5, container="mpegts", options={"bf": "0"})
        for w in (128, 96)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    frames = read(path)
    assert [f.size for f in frames] == [(128, 64)] * 5 + [(96, 64)] * 5
    assert corners(frames[-1].pixels) == "rgbw"


def test_a_raw_stream_without_a_clock_gets_nominal_times(tmp_path):
    path = write_clip(tmp_path / "raw.h264", container="h264", frames=6, options={"bf": "0"}, rate=25)
    frames = read(path)
    assert len(frames) == 6
    steps = np.diff([f.pts for f in frames])
    np.testing.assert_allclose(steps, 1 / 25, atol=1e-6)


# ---- motion vectors


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("mpeg4", "avi"), ("mpeg2video", "mpg")])
def test_motion_vectors_point_to_where_the_block_came_from(tmp_path, codec, suffix):
    texture = np.random.default_rng(0).integers(0, 255, (96, 400, 3), np.uint8)
    texture = np.repeat(np.repeat(texture[::4, ::4], 4, 0), 4, 1)
    path = write_clip(
        tmp_path / f"m.{suffix}",
        codec=codec,
        frames=8,
        options={"bf": "0"},
        draw=lambda i: np.ascontiguousarray(texture[:, 4 * i : 4 * i + SIZE[0]]),  # content moves 4 left
    )
    frames = read(path, motion_vectors=True)
    assert frames[0].motion is None
    motion = frames[4].motion
    assert motion.block.shape == (len(motion.source), 4)
    assert (motion.block.dtype, motion.motion.dtype, motion.source.dtype) == (np.float32, np.float32, np.int32)
    assert (motion.source < 0).all()
    np.testing.assert_allclose(np.median(motion.motion, axis=0), (4, 0), atol=0.3)
    assert read(path)[4].motion is None


def test_motion_vectors_turn_with_the_picture(tmp_path):
    texture = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 255, (24, 100, 3), np.uint8), 4, 0), 4, 1)
    path = write_clip(
        tmp_path / "m.mp4",
        frames=6,
        options={"bf": "0"},
        draw=lambda i: np.ascontiguousarray(texture[:, 4 * i : 4 * i + SIZE[0]]),
    )
    turned = read(turn_mp4(path, (0, 1, -1, 0)), motion_vectors=True)[3]  # a quarter turn clockwise
    np.testing.assert_allclose(np.median(turned.motion.motion, axis=0), (0, 4), atol=0.3)
    assert turned.motion.block[:, 0].max() < turned.size[0]
    assert turned.motion.block[:, 1].max() < turned.size[1]


def test_codecs_without_motion_vectors_say_so(tmp_path):
    path = write_clip(tmp_path / "a.webm", codec="libvpx-vp9", frames=3)
    with open_source(path, motion_vectors=True) as source:
        assert all(f.motion is None for f in source)
        assert source.describe()["motion_vectors"] is False


def test_motion_vectors_leave_no_pictures_behind(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=60)
    gc.collect()
    gc.disable()  # only reference counts may free them: cycles would pile up to gigabytes
    try:
        alive = set()
        with open_source(path, motion_vectors=True) as source:
            for index, _ in enumerate(source):
                if index % 20 == 19:
                    alive.add(sum(type(item) is VideoFrame for item in gc.get_objects()))
    finally:
        gc.enable()
    assert max(alive) < 12


def test_file_names_with_special_characters(tmp_path):
    for name in ("50%d off.mp4", "a:b.mp4", "ünï çödé.mp4", "-.mp4"):
        path = write_clip(tmp_path / "plain.mp4", frames=2)
        path.rename(tmp_path / name)
        assert len(read(tmp_path / name)) == 2


def test_closing_ends_the_iteration(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=6)
    source = open_source(path)
    next(source)
    source.close()
    source.close()
    assert list(source) == []


# ---- real footage


@pytest.mark.data
def test_every_real_clip_gives_the_frames_that_its_manifest_counts(data_folder):
    manifest = json.loads((data_folder / "manifest.json").read_text())
    clips = [entry for entry in manifest["files"] if entry["type"] == "video"]
    assert len(clips) >= 15
    for entry in clips:
        every = 8  # conversion is the slow part; each frame is decoded all the same
        with open_source(data_folder / entry["file"], channels=1, every=every) as source:
            times = [frame.pts for frame in source]
            facts = source.describe()
        label = entry["file"]
        assert facts["decoded"] == entry["frames"], label
        assert len(times) == -(-entry["frames"] // every), label
        assert source.size == (entry["width"], entry["height"]), label
        assert (facts["damaged"], facts["truncated"]) == (0, False), label
        assert facts["stream"] == entry["stream_index"], label
        assert all(b > a for a, b in pairwise(times)), label


@pytest.mark.data
def test_a_real_slide_recording_keeps_its_uneven_times(data_folder):
    with open_source(data_folder / "slides_lecture_two_slides.mov") as source:
        frames = list(source)
    assert frames[11].pts == pytest.approx(12.0, abs=0.01)  # one second steps, except one of two seconds
    assert source.frames == len(frames)
