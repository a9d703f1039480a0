"""Policies by name: every name can be had, every option is read, and what is wrong is said."""

from __future__ import annotations

import numpy as np
import pytest
from fixation.scenes import looks_of, plain

from texvlm.drawing.pictures import write_png
from texvlm.errors import LookError, SourceError
from texvlm.fixation import LOOKS, FollowMap, GazeTrack, Look, PeakRegions, Peaks, Pursuit, Saccades, parse_look

MINIMAL = {"gaze": "gaze:file=g.csv", "colour": "colour:rgb=#ff0000", "template": "template:file=t.png"} | {
    "regions": "regions:boxes=0 0 1 1",
    "query": "query:text=a car,model=folder",
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.csv").write_text("time,u,v\n0,0.1,0.2\n9,0.1,0.2\n")
    write_png(tmp_path / "t.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
    monkeypatch.setattr(
        "texvlm.encoders.similarity.similarity_of", lambda folder: lambda picture, text: np.eye(len(folder))
    )


@pytest.mark.parametrize("name", LOOKS)
def test_every_name_looks(name):
    policy = parse_look(MINIMAL.get(name, name)).make()
    looks = looks_of(policy, [plain(), plain()])
    assert all(isinstance(look, Look) and look.why.isascii() for look in looks)
    assert policy.count is None or len(looks[0].fixations) == policy.count


def test_options_reach_evidence_and_choice():
    peaks = parse_look("colour:rgb=#ff8000,tolerance=0.3,count=4,spacing=0.3").make()
    assert isinstance(peaks, Peaks)
    assert (peaks.count, peaks.spacing) == (4, 0.3)
    assert peaks.evidence.rgb == pytest.approx((1, 128 / 255, 0))
    assert peaks.evidence.tolerance == 0.3
    saccades = parse_look("saccades:of=changes,decay_s=2,rate_hz=3").make()
    assert isinstance(saccades, Saccades)
    assert (saccades.rate_hz, saccades.evidence.decay_s) == (3, 2)
    assert isinstance(parse_look("saliency:follow=map,surround=0.5").make(), FollowMap)
    assert isinstance(parse_look("saliency:follow=regions,most=2").make(), PeakRegions)
    assert isinstance(parse_look("changes:follow=saccades").make(), Saccades)
    pursuit = parse_look("pursuit:of=colour,rgb=#00ff00,half=9").make()
    assert isinstance(pursuit, Pursuit)
    assert (pursuit.half, pursuit.start.name) == (9, "colour")
    assert parse_look("pursuit:u=0.2,v=0.3").make().start.points == ((0.2, 0.3),)
    assert parse_look("pursuit:u=0.2").make().start.points == ((0.2, 0.5),)
    assert parse_look("fixed:u=0.2,v=0.9").make().points == ((0.2, 0.9),)
    regions = parse_look("regions:boxes=0.1 0.1 0.3 0.4 2/0.5 0.5 0.9 0.9,follow=map,surround=0.1").make()
    assert [region.importance for region in regions.regions] == [2, 1]
    assert regions.count is None


def test_files_are_named_and_read():
    look = parse_look("gaze:file=g.csv,offset_s=1")
    assert look.files == ("g.csv",)
    assert parse_look("saliency").files == ()
    policy = look.make()
    assert isinstance(policy.path, GazeTrack)
    assert policy.path.times.tolist() == [1, 10]
    with pytest.raises(SourceError, match=r"gone\.png"):
        parse_look("template:file=gone.png").make()


class Drift:
    """A user's own."""

    name, count = "drift", 1

    def __init__(self, speed: float = 0.1, label: str = "") -> None:
        self.speed, self.label = speed, label

    def look(self, scene):
        return Look(np.array([self.speed * (scene.time_s or 0), 0.5]), why=self.label)


def no_policy(**options):
    return 7


def broken(**options):
    raise AttributeError("no screen")


def test_a_models_files_tell_its_look_from_that_of_another(tmp_path):
    for name in ("model.safetensors", "config.json", "readme.md"):
        (tmp_path / name).write_text(name)
    found = parse_look(f"query:text=a cup,model={tmp_path}").files
    assert found == (str(tmp_path / "config.json"), str(tmp_path / "model.safetensors"))
    assert parse_look("query:text=a cup,model=gone").files == ()


def test_a_policy_of_ones_own_is_imported_and_called():
    policy = parse_look("fixation.test_named.Drift:speed=0.3,label=slow").make()
    assert isinstance(policy.speed, float)
    looks = looks_of(policy, [plain()] * 4)
    assert looks[3].fixations[0, 0] == pytest.approx(0.03)
    assert looks[3].why == "slow"
    assert isinstance(parse_look("fixation.test_named.Drift:speed=3").make().speed, int)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ValueError, "has no name"),
        (":count=2", ValueError, "has no name"),
        ("wander", ValueError, "unknown look 'wander'; accepted: fixed, moving, gaze"),
        ("saliency:count", ValueError, "look option 'count'; accepted: OPTION=VALUE"),
        ("saliency:count=", ValueError, "look option 'count='"),
        ("saliency:count=1,count=2", ValueError, "'count' is given twice"),
        ("saliency:count=many", ValueError, "look option count='many'"),
        ("saliency:count=0", ValueError, "look saliency: count is 0"),
        ("saliency:count=1.5", ValueError, "look option count='1.5': accepted: a whole number"),
        ("fixed:u=left", ValueError, "look option u='left': accepted: a finite number"),
        ("colour:rgb=#gg0000", ValueError, "look option rgb='#gg0000': a colour is #rrggbb"),
        ("saliency:spacing=nan", ValueError, "look option spacing='nan'"),
        ("saliency:rate_hz=3", TypeError, "look saliency has no option 'rate_hz'"),
        ("saliency:follow=edges", ValueError, "follow='edges'; accepted: peaks, map, regions, saccades"),
        ("saccades:of=noise", ValueError, "look saccades of 'noise'; accepted: changes, saliency"),
        ("saccades:count=2", TypeError, "has no option 'count'"),
        ("pursuit:u=0.5,of=saliency", TypeError, "has no option 'of'"),
        ("moving:u=1", TypeError, "look moving has no option 'u'; it has: none"),
        ("fixed:w=1", TypeError, "look fixed has no option 'w'; it has: u, v"),
        ("gaze", ValueError, "needs a recording"),
        ("colour", ValueError, "needs a colour"),
        ("colour:rgb=red", ValueError, "look option rgb='red': a colour is #rrggbb"),
        ("template", ValueError, "needs a picture"),
        ("regions", ValueError, "needs boxes"),
        ("regions:boxes=0 0 1", ValueError, "a box is four numbers"),
        ("regions:boxes=0 0 1 1 0", ValueError, "importance of a region is 0"),
        ("fixation.test_named.Gone", ValueError, "cannot be imported"),
        ("nowhere.at_all.Policy", ValueError, "cannot be imported"),
        (
            "fixation.test_named.broken",
            LookError,
            "broken cannot be made: AttributeError: no screen; mend it",
        ),
        ("fixation.test_named.no_policy", TypeError, "gave int, which is no LookPolicy"),
        ("fixation.test_named.Drift:wings=2", TypeError, "wings"),
    ],
)
def test_what_cannot_be_had(text, error, words):
    with pytest.raises(error, match=words):
        parse_look(text).make()
