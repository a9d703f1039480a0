"""The codec's vectors as flow: spans of P and B pictures, what is invalid, and no frame kept alive."""

from __future__ import annotations

import gc
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from moving import texels, texture

from texvlm import Engine, open_source
from texvlm.frames import Frame, MotionVectors
from texvlm.motion import CodecMotion, MotionField, MotionSource, moment_of, rasterised

SIZE = (192, 128)
SPEED = 3


def clip(path: Path, *, b_frames: int, frames: int = 14, codec: str = "libx264", cut: int | None = None) -> Path:
    """A texture that moves left by three texels a frame: its backward flow is (+3, 0)."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 300
        stream.max_b_frames = b_frames
        if codec == "libx264":
            stream.options = {"preset": "fast", "qp": "16", "x264-params": f"scenecut=0:bframes={b_frames}:b-adapt=0"}
        for index in range(frames):
            shift = SPEED * index + (5000 if cut is not None and index >= cut else 0)
            gray = (texture(texels(SIZE) + np.array([shift, 0])) * 255).astype(np.uint8)
            picture = VideoFrame.from_ndarray(np.repeat(gray[..., None], 3, axis=2), format="rgb24")
            picture.pts = index
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def fields(path: Path, motion: MotionSource) -> list[tuple[str | None, MotionField | None]]:
    """Kind and field of every frame of a clip."""
    found = []
    with open_source(path, motion_vectors=True) as source, Engine(backend="cpu") as engine:
        for frame in source:
            engine.submit(frame)
            found.append((frame.kind, motion(moment_of(engine, frame=frame))))
    return found


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_vectors_of_p_pictures_are_the_motion_of_one_frame(tmp_path, codec):
    suffix = {"libx264": "mp4", "mpeg4": "mp4", "mpeg2video": "mpg"}[codec]
    (kind, first), *rest = fields(clip(tmp_path / f"a.{suffix}", b_frames=0, codec=codec), CodecMotion())
    assert (kind, first) == ("I", None)
    moved = [field for kind, field in rest if kind == "P"]
    assert len(moved) >= 10
    moved = moved[:-1] if codec == "mpeg2video" else moved  # its decoder drops those of the last picture
    for field in moved:
        assert field.origin == "codec"
        assert field.valid_share > 0.5
        assert np.median(field.flow[field.valid], axis=0) == pytest.approx((SPEED, 0), abs=0.3)
    for field in (field for kind, field in rest if kind == "I"):
        assert not field.valid.any()


@pytest.mark.parametrize("b_frames", [1, 2, 3])
def test_what_b_and_p_pictures_span_is_told_by_the_pixels(tmp_path, b_frames):
    rest = fields(clip(tmp_path / "b.mp4", b_frames=b_frames), CodecMotion())[1:]
    kinds = [kind for kind, _ in rest]
    assert kinds.count("B") >= 5
    for field in (field for _, field in rest):
        assert field.valid_share > 0.3
        assert np.median(field.flow[field.valid], axis=0) == pytest.approx((SPEED, 0), abs=0.3)
        assert field.error[field.valid].max() <= 0.08


def test_without_pixels_only_what_needs_no_judge_is_valid(tmp_path):
    rest = fields(clip(tmp_path / "b.mp4", b_frames=3), CodecMotion(judge=False))[1:]
    since = 0
    for kind, field in rest:
        since += 1
        if kind == "B" and since > 1:
            assert not field.valid.any()
        else:
            assert field.valid_share > 0.5
            assert np.median(field.flow[field.valid], axis=0) == pytest.approx((SPEED, 0), abs=0.5)
        since = since if kind == "B" else 0


def test_vectors_across_a_cut_are_refused_by_the_pixels(tmp_path):
    found = fields(clip(tmp_path / "c.mp4", b_frames=0, frames=8, cut=5), CodecMotion())
    assert found[5][1].valid_share < 0.1
    assert found[7][1].valid_share > 0.5


def vectors(*rows: tuple[float, float, float, float, float, float, int]) -> MotionVectors:
    """From (x, y, width, height, dx, dy, source)."""
    table = np.array(rows, np.float32).reshape(-1, 7)
    return MotionVectors(table[:, :4], table[:, 4:6], table[:, 6].astype(np.int32))


def test_blocks_cover_cells_by_area():
    whole = rasterised(vectors((16, 8, 32, 16, 2, -1, -1)), (40, 24))
    assert whole.flow[0].tolist() == [[2, -1], [2, -1], [0, 0]]
    assert whole.valid.tolist() == [[True, True, False], [False] * 3]
    halves = rasterised(vectors((4, 8, 8, 16, 4, 0, -1), (12, 8, 8, 16, 8, 0, -1)), (16, 16))
    assert halves.flow.tolist() == [[[6, 0]]]
    quarter = rasterised(vectors((4, 4, 8, 8, 4, 0, -1)), (16, 16))
    assert not quarter.valid.any()
    edge = rasterised(vectors((36, 20, 8, 8, 1, 1, -1)), (40, 24))  # all that the last cell has of the frame
    assert edge.valid[1, 2]


def test_future_references_are_kept_apart():
    both = vectors((8, 8, 16, 16, 4, 0, -1), (8, 8, 16, 16, -6, 0, 1))
    assert rasterised(both, (16, 16)).flow.tolist() == [[[4, 0]]]
    assert rasterised(both, (16, 16), future=True).flow.tolist() == [[[-6, 0]]]
    assert not rasterised(vectors((8, 8, 16, 16, -6, 0, 1)), (16, 16)).valid.any()


def test_frames_without_vectors_and_of_another_size():
    motion = CodecMotion()
    assert isinstance(motion, MotionSource)
    with Engine(backend="cpu", sources=2) as engine:

        def show(size: tuple[int, int], known: MotionVectors | None, source: int = 0) -> MotionField | None:
            frame = Frame(np.zeros((size[1], size[0], 3), np.uint8), kind="P", motion=known)
            engine.submit(frame, source)
            return motion(moment_of(engine, source, frame=frame))

        still = vectors((16, 16, 32, 32, 0, 0, -1))
        assert show((32, 32), still) is None
        assert show((32, 32), None).valid_share == 0
        assert show((32, 32), still).valid_share == 1
        assert show((32, 32), still, 1) is None
        motion.reset(0)
        assert show((32, 32), still) is None
        assert show((32, 32), still, 1).valid_share == 1
        assert show((16, 16), still) is None
        motion.reset()
        motion.reset(5)
        with pytest.raises(ValueError, match="a frame of 8 x 8 for source 0, which holds 16 x 16"):
            moment_of(engine, frame=Frame(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(ValueError, match="longest is 0"):
        CodecMotion(longest=0)


def test_reading_vectors_keeps_no_picture_alive(tmp_path):
    path = clip(tmp_path / "long.mp4", b_frames=2, frames=40)
    motion = CodecMotion(judge=False)

    def alive() -> int:
        return sum(type(thing) is VideoFrame for thing in gc.get_objects())

    gc.collect()
    gc.disable()  # a cycle that only the collector can break would now keep every picture
    try:
        with open_source(path, motion_vectors=True) as source, Engine(backend="cpu") as engine:
            counts = []
            for index, frame in enumerate(source):
                assert frame.motion is not None or frame.kind == "I"
                engine.submit(frame)
                motion(moment_of(engine, frame=frame))
                if index % 10 == 9:
                    counts.append(alive())
    finally:
        gc.enable()
    assert len(counts) == 4
    assert max(counts) <= counts[0] + 3


def test_vectors_are_the_same_whenever_a_file_is_read(tmp_path):
    path = clip(tmp_path / "b.mp4", b_frames=2, frames=30)

    def read() -> list[bytes | None]:
        with open_source(path, motion_vectors=True) as source:
            return [None if f.motion is None else f.motion.motion.tobytes() for f in source]

    first = read()
    assert first.count(None) == 1  # the I picture
    assert all(read() == first for _ in range(4))  # with frame threads, some readings lose some
