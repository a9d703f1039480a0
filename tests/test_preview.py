"""Preview videos: right times, right colours, whole or absent."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import av
import numpy as np
import pytest

from texvlm.drawing.preview import PreviewWriter
from texvlm.errors import ClosedError, StoreError


def picture(value: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    image = np.full((size[1], size[0], 3), 40, np.uint8)
    image[:, : value % size[0]] = (200, 80, 30)
    return image


def read(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.time for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


def test_variable_times_and_colours_are_kept(tmp_path: Path) -> None:
    times = [5.0, 5.04, 5.2, 5.21, 6.0]
    with PreviewWriter(tmp_path / "p.mp4", (64, 48), rate=25) as writer:
        for i, pts in enumerate(times):
            writer.write(picture(i * 8), pts)
    found, images = read(tmp_path / "p.mp4")
    np.testing.assert_allclose(found, np.subtract(times, 5.0), atol=1e-4)
    assert np.abs(images[4].astype(int) - picture(32)).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["p.mp4"]


def test_frames_without_a_later_time_follow_at_the_nominal_rate(tmp_path: Path) -> None:
    with PreviewWriter(tmp_path / "p.mp4", (64, 48), rate=10) as writer:
        for i, pts in enumerate([None, 3.0, 3.0, float("nan"), 1.0, 3.6]):
            writer.write(picture(i), pts)
    found, _ = read(tmp_path / "p.mp4")
    np.testing.assert_allclose(found, [0, 0.1, 0.2, 0.3, 0.4, 0.7], atol=1e-4)


def test_odd_sizes_and_other_sizes_fit_in(tmp_path: Path) -> None:
    with PreviewWriter(tmp_path / "p.mp4", (63, 47)) as writer:
        writer.write(picture(5, (63, 47)))
        writer.write(picture(5, (100, 20)))
        writer.write(picture(5, (1, 1)))
    _, images = read(tmp_path / "p.mp4")
    assert [image.shape for image in images] == [(48, 64, 3)] * 3
    assert images[1][:5].max() < 40  # bars above a wide picture


def test_a_preview_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "p.mp4"
    path.write_bytes(b"earlier")

    def fail() -> None:
        with PreviewWriter(path, (64, 48)) as writer:
            writer.write(picture(1))
            assert path.read_bytes() == b"earlier"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with PreviewWriter(path, (64, 48)):
        pass  # no frame, no file
    assert path.read_bytes() == b"earlier"
    assert [found.name for found in tmp_path.iterdir()] == ["p.mp4"]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write preview .*nowhere/p\.mp4: No such file or directory;"):
        PreviewWriter(tmp_path / "nowhere" / "p.mp4", (64, 48))


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    rng = np.random.default_rng(0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        writer = PreviewWriter(tmp_path / "p.mp4", (256, 256))

        def fill() -> None:
            for _ in range(60):
                writer.write(rng.integers(0, 256, (256, 256, 3), np.uint8))
            writer.finish()

        with pytest.raises(StoreError, match="cannot write preview"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ClosedError, match="is closed"):
        writer.write(picture(1))


@pytest.mark.parametrize(("size", "rate", "message"), [((0, 4), 25, "size 0 x 4"), ((4, 4), 0, "rate is 0")])
def test_bad_arguments_are_refused(tmp_path: Path, size: tuple[int, int], rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PreviewWriter(tmp_path / "p.mp4", size, rate=rate)
