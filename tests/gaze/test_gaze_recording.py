"""Recorded gaze: the same samples back, in a file of its owner's, and one line where that cannot be."""

from __future__ import annotations

import math
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import texvlm
from texvlm.errors import SourceError, StoreError
from texvlm.gaze import GazeRecorder, GazeReplay, GazeSample, read_gaze, write_gaze

FLOATS = st.floats(allow_nan=False)


@st.composite
def samples(draw) -> GazeSample:
    place = draw(st.sampled_from(["direction", "point", None]))
    where = {} if place is None else {place: draw(st.tuples(*[FLOATS] * (3 if place == "direction" else 2)))}
    return GazeSample(
        draw(st.integers(-(2**62), 2**62)),
        **where,
        clock=draw(st.sampled_from(["monotonic", "tobii.x-1", "openxr"])),
        valid=place is not None and draw(st.booleans()),
        confidence=draw(st.floats(0, 1)),
        eye=draw(st.sampled_from(["left", "right", "both"])),
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recorded=st.lists(samples(), max_size=6))
def test_what_was_recorded_comes_back(tmp_path, ending, recorded):
    path = tmp_path / f"gaze.{ending}"
    path.unlink(missing_ok=True)
    write_gaze(path, recorded)
    assert read_gaze(path) == tuple(recorded)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_shut_eye_is_recorded_too(tmp_path):
    write_gaze(tmp_path / "gaze.csv", [GazeSample(1, point=(math.nan, 0.2), confidence=math.nan)])
    (sample,) = read_gaze(tmp_path / "gaze.csv")
    assert not sample.usable()
    assert math.isnan(sample.point[0])


def test_a_csv_holds_every_sample_at_any_moment(tmp_path):
    path = tmp_path / "gaze.csv"
    with GazeRecorder(path) as recorder:
        assert read_gaze(path) == ()
        for k in range(3):
            recorder.write(GazeSample(k, point=(0.5, 0.25)))
            assert len(read_gaze(path)) == k + 1 == recorder.written
    recorder.close()
    with pytest.raises(StoreError, match="the recording is closed; open a new one"):
        recorder.write(GazeSample(9, point=(0.5, 0.25)))
    assert path.read_text().splitlines()[1] == "0,monotonic,both,1,1.0,0.5,0.25,,,"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_recorded_points_are_a_gaze_track(tmp_path, ending):
    path = tmp_path / f"gaze.{ending}"
    lost = GazeSample(2 * 10**9, valid=False)
    shut = GazeSample(3 * 10**9, point=(math.nan, 0.5)), GazeSample(4 * 10**9, point=(0.9, 0.9), confidence=math.nan)
    write_gaze(path, [GazeSample(10**9, point=(0.25, 0.5)), lost, *shut, GazeSample(5 * 10**9, point=(0.75, 0.5))])
    track = texvlm.GazeTrack.read(path)
    assert track.at(1.0) == (0.25, 0.5)
    assert track.at(4.5) == (0.25, 0.5)
    assert track.at(5.0) == (0.75, 0.5)
    assert track.skipped == 3


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_recorded_directions_are_no_track_and_the_row_is_named(tmp_path, ending):
    path = tmp_path / f"gaze.{ending}"
    write_gaze(path, [GazeSample(0, (0.0, 0.0, -1.0))])
    with pytest.raises(SourceError, match=rf"gaze\.{ending}, (line 2|row 1): u is ''; a number is needed"):
        texvlm.GazeTrack.read(path)


def test_a_track_from_what_is_no_parquet_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "gaze.parquet"
    for words in ("No such file", "give a recording of gaze"):
        with pytest.raises(SourceError, match=words) as refusal:
            texvlm.GazeTrack.read(path)
        assert "\n" not in str(refusal.value)
        path.write_bytes(b"no parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceError, match="parquet needs pyarrow"):
        texvlm.GazeTrack.read(path)


def test_a_recording_is_not_written_over(tmp_path):
    path = tmp_path / "gaze.csv"
    path.write_text("mine")
    with pytest.raises(StoreError, match="exists, and a recording is not written over; give another name"):
        GazeRecorder(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["gaze.txt", "gaze"])
def test_the_name_says_what_it_is(tmp_path, name):
    for use in (GazeRecorder, read_gaze):
        with pytest.raises(ValueError, match=r"a recording of gaze ends in \.csv or \.parquet"):
            use(tmp_path / name)


def test_without_pyarrow_parquet_is_one_line_before_anything_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "gaze.parquet"
    with pytest.raises(StoreError, match=r'parquet needs pyarrow; pip install "texvlm\[parquet\]", or use a \.csv'):
        GazeRecorder(path)
    assert not path.exists()
    with pytest.raises(SourceError, match="parquet needs pyarrow"):
        read_gaze(path)


HEADER = "timestamp_ns,clock,eye,valid,confidence,u,v,x,y,z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no recording of gaze; its first line is timestamp_ns,"),
        ("time,u,v\n1,2,3\n", "no recording of gaze"),
        (f"{HEADER}\n1,m,both,1,1.0,0.5\n", "line 2: 6 values for 10 columns"),
        (f"{HEADER}\n1,m,both,maybe,1.0,0.5,0.5,,,\n", "line 2: valid is 'maybe'; accepted: 1 or 0"),
        (f"{HEADER}\n1,m,both,1,1.0,0.5,0.5,,,\n1.5,m,both,1,1.0,0.5,0.5,,,\n", "line 3: invalid literal for int"),
        (f"{HEADER}\n1,m,both,1,1.0,0.5,,,,\n", "line 2: could not convert string to float"),
        (f"{HEADER}\n1,m,nose,1,1.0,0.5,0.5,,,\n", "line 2: eye is 'nose'"),
        (f"{HEADER}\n1,m,both,1,1.0,,,,,\n", "line 2: a valid gaze sample without direction or point"),
    ],
)
def test_what_is_no_recording_is_one_line(tmp_path, text, message):
    path = tmp_path / "gaze.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=message) as refusal:
        read_gaze(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["gone.csv", "gone.parquet", "bytes.csv", "bytes.parquet", "other.parquet"])
def test_what_cannot_be_read_is_one_line(tmp_path, name):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / name
    if name.startswith("bytes"):
        path.write_bytes(b"\xff\xfe\x00garbage")
    elif name.startswith("other"):
        pyarrow.parquet.write_table(pyarrow.table({"u": [1.0]}), path)
    with pytest.raises(SourceError) as refusal:
        read_gaze(path)
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(StoreError, match="give a folder that can be written"):
        GazeRecorder(Path(tmp_path / "gone" / "gaze.csv"))


def test_a_replay_gives_what_is_due():
    recorded = [GazeSample(t, point=(0.1, t / 100), clock="tracker") for t in (50, 60, 60, 90)]
    replay = GazeReplay(recorded, start_ns=1000)
    assert replay.due(999) == []
    assert [s.time_ns for s in replay.due(1010)] == [1000, 1010, 1010]
    assert replay.due(1010) == []
    assert not replay.finished
    (last,) = replay.due(5000)
    assert (last.time_ns, last.clock, last.point) == (1040, "monotonic", (0.1, 0.9))
    assert replay.finished
    assert replay.end_ns == 1040


def test_a_replay_has_one_clock_and_goes_forward():
    with pytest.raises(ValueError, match="0 samples of clocks none"):
        GazeReplay([])
    with pytest.raises(ValueError, match="clocks a, b; give samples of one"):
        GazeReplay([GazeSample(0, valid=False, clock=clock) for clock in "ab"])
    with pytest.raises(ValueError, match="at 1 ns after one at 2 ns; sort them"):
        GazeReplay([GazeSample(2, valid=False), GazeSample(1, valid=False)])
