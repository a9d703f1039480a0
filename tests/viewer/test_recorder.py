"""Recordings: every picture that was asked for, in a file that is whole or not there."""

from __future__ import annotations

import threading

import av
import numpy as np
import pytest
from viewer.films import pixels

from texvlm.drawing.preview import PreviewWriter
from texvlm.errors import ClosedError, StoreError
from texvlm.viewer import recorder as recorder_module
from texvlm.viewer.recorder import WAITING, Recorder


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_every_picture_is_kept_where_there_is_patience(tmp_path):
    recorder = Recorder(tmp_path / "a.mp4", (96, 64), patient=True)
    for k in range(20):
        recorder.write(pixels(k))
    assert recorder.finish() == 20
    assert recorder.finish() == 20
    kept = frames_of(tmp_path / "a.mp4")
    assert len(kept) == 20
    assert np.abs(kept[7].astype(int) - pixels(7)).mean() < 6
    with pytest.raises(ClosedError, match="is closed"):
        recorder.write(pixels(0))


class HeldWriter(PreviewWriter):
    """Writes nothing until it may."""

    gate = threading.Event()
    asked = threading.Event()

    def write(self, image, pts=None):
        self.asked.set()
        self.gate.wait(5)
        super().write(image, pts)


def test_who_draws_never_waits_for_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "PreviewWriter", HeldWriter)
    recorder = Recorder(tmp_path / "a.mp4", (96, 64))
    recorder.write(pixels(0))
    HeldWriter.asked.wait(5)
    for k in range(1, WAITING + 4):
        recorder.write(pixels(k), k / 30)
    assert recorder.dropped == 3
    HeldWriter.gate.set()
    assert recorder.finish() == WAITING + 1


class FullDisk(PreviewWriter):
    """Has room for one picture."""

    def write(self, image, pts=None):
        if self.frames:
            raise StoreError("no room; free some")
        super().write(image, pts)


@pytest.mark.parametrize("patient", [True, False])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, patient):
    monkeypatch.setattr(recorder_module, "PreviewWriter", FullDisk)
    recorder = Recorder(tmp_path / "a.mp4", (96, 64), patient=patient)
    recorder.write(pixels(0))
    recorder.write(pixels(1))
    recorder._thread.join(5)
    with pytest.raises(StoreError, match="no room"):
        recorder.write(pixels(2))
    with pytest.raises(StoreError, match="no room"):
        recorder.finish()
    assert not list(tmp_path.iterdir())


def test_a_recording_without_pictures_leaves_no_file(tmp_path):
    assert Recorder(tmp_path / "a.mp4", (96, 64)).finish() == 0
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreError, match="cannot write preview"):
        Recorder(tmp_path / "nowhere" / "a.mp4", (96, 64))
