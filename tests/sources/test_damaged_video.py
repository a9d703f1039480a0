"""Video files that are broken, cut short, or no video at all."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from clips import packet_places, write_audio, write_clip

from texvlm.errors import SourceError
from texvlm.sources import open_source
from texvlm.sources.decoded import FrameMaker
from texvlm.sources.video import VideoDecoder


def read(path: Path) -> list:
    with open_source(path) as source:
        return list(source)


def damage_packet(path: Path, index: int) -> None:
    data = bytearray(path.read_bytes())
    offset, size = packet_places(path)[index]
    data[offset + 8 : offset + size] = bytes(size - 8)
    path.write_bytes(data)


def test_broken_packets_are_skipped_and_counted(tmp_path):
    path = write_clip(tmp_path / "b.mov", codec="png", pixel_format="rgb24", frames=10)
    damage_packet(path, 4)
    damage_packet(path, 7)
    with open_source(path) as source:
        frames = list(source)
        facts = source.describe()
    np.testing.assert_allclose([f.pts * 30 for f in frames], [0, 1, 2, 3, 5, 6, 8, 9], atol=1e-3)
    assert (facts["damaged"], facts["truncated"]) == (2, False)


def test_a_broken_reference_picture_does_not_end_the_clip(tmp_path):
    path = write_clip(tmp_path / "b.mp4", frames=30, options={"bf": "0", "g": "10"})
    damage_packet(path, 12)
    with open_source(path) as source:
        frames = list(source)
    assert source.describe()["damaged"] >= 1
    assert len(frames) >= 20
    assert frames[-1].pts == pytest.approx(29 / 30)


@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("broken", [20, 28])
def test_a_broken_packet_near_the_end_costs_one_picture_however_many_threads_decode(tmp_path, threads, broken):
    path = write_clip(tmp_path / "b.mp4", frames=30, options={"bf": "0", "g": "1"})
    damage_packet(path, broken)
    with av.open(f"file:{path}") as container:
        decoder = VideoDecoder(container, "b.mp4")
        decoder.decoder.thread_count = threads
        shown = [round(decoder.seconds(p.pts) * 30) for p in decoder.pictures()]
        damaged = decoder.damaged
    assert shown == [n for n in range(30) if n != broken]
    assert damaged == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_a_truncated_file_yields_what_it_holds(tmp_path, suffix):
    whole = write_clip(
        tmp_path / f"w.{suffix}",
        frames=60,
        codec="mpeg4" if suffix == "avi" else "libx264",
        options={"bf": "0", "g": "10"},
        container="mpegts" if suffix == "ts" else None,
        container_options={"movflags": "faststart"} if suffix == "mp4" else None,
    )
    offset, size = packet_places(whole)[30]
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: offset + size // 2])
    with open_source(cut) as source:
        frames = list(source)
        facts = source.describe()
    assert 25 <= len(frames) <= 31
    for mine, other in zip(frames[:25], read(whole), strict=False):
        np.testing.assert_array_equal(mine.pixels, other.pixels)
    if suffix != "ts":  # a transport stream states no length
        assert facts["truncated"] is True


def test_a_whole_file_is_not_called_truncated(tmp_path):
    for suffix in ("mp4", "mkv"):
        path = write_clip(tmp_path / f"w.{suffix}", frames=40)
        with open_source(path) as source:
            assert len(list(source)) == 40
            assert (source.describe()["truncated"], source.describe()["damaged"]) == (False, 0)


def refusals(folder: Path) -> dict[str, tuple[Path, str]]:
    write_clip(folder / "late.mp4", frames=20)
    whole = (folder / "late.mp4").read_bytes()  # its index lies at the end
    made = {
        "zero.mp4": (b"", "empty"),
        "text.mp4": (b"this is a text, not a video\n" * 300, "not a video"),
        "text.txt": (b"this is a text, not a video\n" * 300, "no video stream"),
        "noise.mp4": (np.random.default_rng(0).bytes(200_000), "not a video"),
        "cut.mp4": (whole[: len(whole) // 2], "cut off before its index"),
    }
    for name, (data, _) in made.items():
        (folder / name).write_bytes(data)
    found = {name: (folder / name, reason) for name, (_, reason) in made.items()}
    found["audio.mp4"] = (write_audio(folder / "audio.mp4"), r"no video stream \(.*audio aac")
    found["missing.mp4"] = (folder / "missing.mp4", "no such file")
    return found


@pytest.mark.parametrize(
    "name", ["zero.mp4", "text.mp4", "text.txt", "noise.mp4", "cut.mp4", "audio.mp4", "missing.mp4"]
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path, name):
    path, reason = refusals(tmp_path)[name]
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(path)
    message = str(caught.value)
    assert str(path) in message
    assert "accepted: a video file" in message
    assert "\n" not in message


def test_no_decodable_frame_is_an_error(tmp_path):
    path = write_clip(tmp_path / "b.mov", codec="png", pixel_format="rgb24", frames=1)
    damage_packet(path, 0)
    with pytest.raises(SourceError, match="no frame can be decoded"):
        open_source(path)


def test_a_picture_that_cannot_be_converted_is_a_source_error() -> None:
    picture = av.VideoFrame(64, 48, "yuv420p")

    class Refusing:
        def reformat(self, *_: object, **__: object) -> None:
            raise av.error.ArgumentError(22, "Invalid argument")

    maker = FrameMaker(channels=3)
    maker._scaler = Refusing()  # type: ignore[assignment]
    with pytest.raises(SourceError, match=r"a 64 x 48 picture of yuv420p cannot be converted to rgb24: .*Invalid"):
        maker.make(picture, pts=0.0)
