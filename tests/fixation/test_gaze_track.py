"""Fixation paths: fixed, moving, and recorded gaze with everything that recordings contain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.errors import SourceError
from texvlm.fixation import FixedFixation, GazeTrack, MovingFixation, parse_fixation


def track(*samples: tuple[float, float, float], **options: float) -> GazeTrack:
    table = np.array(samples, np.float64)
    return GazeTrack(table[:, 0], table[:, 1:], **options)


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "gaze.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# ---- fixed and moving


def test_a_fixed_fixation_may_lie_outside_the_frame():
    assert FixedFixation(-0.5, 1.75).at(3.0) == (-0.5, 1.75)
    assert FixedFixation().at(None) == (0.5, 0.5)
    with pytest.raises(ValueError, match="not finite"):
        FixedFixation(math.nan, 0.5)


@pytest.mark.parametrize(("text", "expected"), [("0.5,0.5", (0.5, 0.5)), (" -1 , 2e-1 ", (-1, 0.2)), ("1,0", (1, 0))])
def test_parse_fixation(text, expected):
    assert parse_fixation(text).at() == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.5", r"'0\.5' has 1 part"),
        ("", "has 1 part"),
        ("1,2,3", "has 3 part"),
        ("a,b", "no number"),
        ("0.5,", "no number"),
        ("nan,0.5", "not finite"),
        ("0.5,inf", "not finite"),
    ],
)
def test_parse_fixation_refuses(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_fixation(text)


def test_a_moving_fixation_is_smooth_stays_in_reach_and_repeats():
    path = MovingFixation()
    points = np.array([path.at(t) for t in np.arange(0, 12, 1 / 30)])
    assert np.abs(points - 0.5).max() <= 0.36
    assert np.ptp(points, axis=0).min() > 0.55
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() < 0.03
    np.testing.assert_allclose(path.at(12.0), path.at(0.0), atol=1e-12)
    assert path.at(None) == path.at(0.0)
    with pytest.raises(ValueError, match="periods above 0"):
        MovingFixation(periods_s=(0, 1))


# ---- interpolation


def test_lookups_run_straight_between_near_samples_and_hold_elsewhere():
    gaze = track((1.0, 0.0, 0.0), (1.1, 1.0, 0.5), (2.0, 0.2, 0.2), (2.1, 0.4, 0.4))
    assert gaze.at(0.0) == (0.0, 0.0)  # before the first
    np.testing.assert_allclose(gaze.at(1.05), (0.5, 0.25))
    assert gaze.at(1.1) == (1.0, 0.5)
    assert gaze.at(1.99) == (1.0, 0.5)  # a gap: the last sample holds
    assert gaze.at(2.0) == (0.2, 0.2)
    assert gaze.at(9.0) == (0.4, 0.4)  # after the last
    assert gaze.gaps == 1
    for unknown in (None, math.nan, math.inf):
        with pytest.raises(ValueError, match="known time"):
            gaze.at(unknown)


coordinates = st.floats(-2, 3, allow_nan=False)
tracks = st.lists(st.tuples(st.floats(0.001, 0.5), coordinates, coordinates), min_size=1, max_size=12).map(
    lambda rows: track(*[(t, u, v) for t, (_, u, v) in zip(np.cumsum([r[0] for r in rows]), rows, strict=True)])
)


@given(tracks, st.floats(-1, 8))
def test_a_lookup_stays_between_its_neighbours(gaze, pts):
    u, v = gaze.at(pts)
    before = max(int(np.sum(gaze.times <= pts)) - 1, 0)
    after = min(int(np.sum(gaze.times <= pts)), len(gaze.times) - 1)
    low, high = (f(gaze.points[[before, after]], axis=0) for f in (np.min, np.max))
    assert (low - 1e-9 <= (u, v)).all()
    assert ((u, v) <= high + 1e-9).all()
    near = before < after and gaze.times[after] - gaze.times[before] <= gaze.max_gap
    if near and gaze.times[0] <= pts:
        np.testing.assert_allclose(u, np.interp(pts, gaze.times, gaze.points[:, 0]), atol=1e-9)
        np.testing.assert_allclose(v, np.interp(pts, gaze.times, gaze.points[:, 1]), atol=1e-9)
    else:
        assert (u, v) == tuple(gaze.points[before])


@given(tracks)
def test_every_sample_is_returned_at_its_own_time(gaze):
    for time, point in zip(gaze.times, gaze.points, strict=True):
        assert gaze.at(float(time)) == tuple(point)


@given(tracks, st.floats(0, 3), st.floats(0, 4))
def test_coverage_adds_up(gaze, start, length):
    found = gaze.coverage(start, start + length)
    assert 0 <= found.fraction <= 1
    probes = np.linspace(start, start + length, 400)
    index = np.searchsorted(gaze.times, probes, side="right")
    inside = (index > 0) & (index < len(gaze.times))
    steps = np.append(np.diff(gaze.times), np.inf)
    inside &= steps[np.clip(index - 1, 0, None)] <= gaze.max_gap
    if length > 0.05:
        assert abs(found.fraction - inside.mean()) < 0.06


def test_coverage_names_what_is_missing():
    gaze = track((1.0, 0, 0), (1.1, 0, 0), (1.6, 0, 0), (1.7, 0, 0))
    found = gaze.coverage(0.0, 2.0)
    assert found.fraction == pytest.approx(0.1)
    assert (found.gaps, found.longest_gap_s) == (1, pytest.approx(0.5))
    assert (found.before_s, found.after_s) == (pytest.approx(1.0), pytest.approx(0.3))
    assert gaze.coverage(5.0, 6.0).fraction == 0
    with pytest.raises(ValueError, match="the end lies before the start"):
        gaze.coverage(2.0, 1.0)


# ---- files


def test_a_plain_file(write):
    gaze = GazeTrack.read_csv(write("time,u,v\n0,0.1,0.2\n0.1,0.3,0.4\n"))
    np.testing.assert_allclose(gaze.times, [0, 0.1])
    np.testing.assert_allclose(gaze.points, [[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize("label", ["time", "t", "Timestamp", "PTS"])
def test_header_names_order_and_extra_columns(write, label):
    gaze = GazeTrack.read_csv(write(f"pupil, V , {label},u\n3,0.2,1.5,0.1\n"))
    assert (gaze.times[0], *gaze.points[0]) == (1.5, 0.1, 0.2)


def test_nanoseconds_x_y_offset_separators_comments_and_byte_order_mark(write):
    text = "\ufeff# recorded by hand\n\ntimestamp_ns;x;y\n# and then\n1700000000500000000;-0.5;1.5\n\n"
    gaze = GazeTrack.read_csv(write(text), offset=-1700000000)
    assert gaze.times[0] == pytest.approx(0.5, abs=1e-6)
    assert gaze.points.tolist() == [[-0.5, 1.5]]
    assert GazeTrack.read_csv(write("t\tu\tv\r\n0\t0.5\t0.5\r\n")).at(0) == (0.5, 0.5)


def test_invalid_samples_are_skipped_even_when_they_hold_no_numbers(write):
    gaze = GazeTrack.read_csv(write("t,u,v,valid\n0,0.1,0.1,1\n0.1,nan,,0\n0.2,0.3,0.3,TRUE\n"))
    assert gaze.times.tolist() == [0, 0.2]
    assert gaze.skipped == 1
    np.testing.assert_allclose(gaze.at(0.1), (0.2, 0.2))
    gaze = GazeTrack.read_csv(write("t,u,v,confidence\n0,0.1,0.1,0.9\n0.1,9,9,0.2\n"))
    assert (len(gaze.times), gaze.skipped) == (1, 1)
    assert len(GazeTrack.read_csv(write("t,u,v,confidence\n0,0,0,0.9\n0.1,1,1,0.2\n"), min_confidence=0.1).times) == 2


def test_of_samples_with_one_time_the_last_counts(write):
    gaze = GazeTrack.read_csv(write("t,u,v\n0,0,0\n1,0.1,0.1\n1,0.2,0.2\n1,0.3,0.3\n2,0,0\n"))
    assert gaze.times.tolist() == [0, 1, 2]
    assert gaze.at(1.0) == (0.3, 0.3)
    assert gaze.duplicates == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("# only a comment\n\n", "the file is empty"),
        ("t,u,v\n", "there is no sample after the header"),
        ("t,u,v,valid\n0,0,0,0\n", "all 1 samples are invalid"),
        ("0.0,0.5,0.5\n0.1,0.5,0.5\n", "no column time or t or timestamp or pts or timestamp_ns in the header"),
        ("t,v\n0,0\n", "no column u in the header"),
        ("t,x\n0,0\n", "no column y in the header"),
        ("t,u,v\n0,0.5,0.5\n0.2,0.5,0.5\n0.1,0.5,0.5\n", r"line 4: time 0\.100000 s comes after 0\.200000 s"),
        ("t,u,v,valid\n0,0,0,1\n1,0,0,0\n0.5,0,0,1\n", "line 4: time"),
        ("t,u,v\n0,nan,0.5\n", "line 2: u is nan; a finite number"),
        ("t,u,v\n0,0.5,inf\n", "line 2: v is inf"),
        ("t,u,v\nnan,0.5,0.5\n", "line 2: t is nan"),
        ("t,u,v\n# note\n0,0.5,abc\n", "line 3: v is 'abc'; a number is needed"),
        ("t,u,v\n0,0.5\n", "line 2: 2 values for 3 columns"),
        ("t,u,v,valid\n0,0,0,maybe\n", "line 2: valid is 'maybe'"),
        ("t,x,y\n0,960,540\n1,961,541\n", r"x, y look like pixels \(first: 960, 540\)"),
    ],
)
def test_broken_files_name_the_line(write, text, reason):
    path = write(text)
    with pytest.raises(SourceError, match=reason) as caught:
        GazeTrack.read_csv(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(SourceError, match=r"none\.csv: No such file"):
        GazeTrack.read_csv(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SourceError, match="not a text file"):
        GazeTrack.read_csv(tmp_path / "b.csv")


def test_a_track_checks_what_it_is_given():
    with pytest.raises(ValueError, match="strictly increasing"):
        track((1, 0, 0), (1, 0, 0))
    with pytest.raises(ValueError, match="finite"):
        track((1, math.nan, 0))
    with pytest.raises(ValueError, match="max_gap"):
        track((1, 0, 0), max_gap=0)
    with pytest.raises(ValueError, match="n >= 1"):
        GazeTrack(np.zeros(0), np.zeros((0, 2)))
