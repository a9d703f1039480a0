"""Complexity of a frame: plain is nothing, more detail is more, and one's own frames can teach it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fixation.scenes import SIZE, plain, scenes_of, with_square

from texvlm.budget import STATISTICS, LinearComplexity, MipComplexity, fit_complexity, mip_statistics
from texvlm.sources import open_source


def noise(strength: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (128 + rng.integers(-strength, strength + 1, (size[1], size[0], 3))).astype(np.uint8)


def complexities(*frames: np.ndarray) -> list[float]:
    return [MipComplexity()(scene) for scene in scenes_of(frames)]


def test_a_plain_frame_has_no_statistics_but_its_change():
    first, second = (mip_statistics(scene) for scene in scenes_of([plain(), plain()]))
    assert tuple(first) == STATISTICS
    assert first == dict.fromkeys(STATISTICS, 0.0) | {"change": 1.0}
    assert second == dict.fromkeys(STATISTICS, 0.0)


def test_more_to_see_is_more_complex():
    found = complexities(plain(), with_square((100, 100)), noise(20), noise(60), noise(127))
    assert found[0] == 0
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert found[-1] < 1


def test_colour_alone_counts_in_its_statistic():
    gray, red = plain(), plain()
    red[:] = (120, 60, 60)
    found = [mip_statistics(scene)["colour"] for scene in scenes_of([gray, red])]
    assert found[0] == 0
    assert found[1] == pytest.approx(60 / 255)


def test_both_shots_of_the_scene_lie_where_the_constant_says():
    with open_source("scene:640x360", frames=40) as source:
        street, *_, desk = (frame.pixels for frame in source)
    of_street, of_desk = complexities(street, desk)
    assert of_desk < of_street
    assert 0.3 < of_desk < 0.9 < 1.0 > of_street > 0.5


@pytest.mark.parametrize("size", [(1, 1), (17, 3), (33, 900)])
def test_frames_of_any_size_have_statistics(size):
    for scene in scenes_of([noise(60, size)]):
        assert all(np.isfinite(value) for value in mip_statistics(scene).values())


# ---- learnt


def samples(count: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(1)
    return [dict(zip(STATISTICS, rng.uniform(0, 0.2, len(STATISTICS)).tolist(), strict=True)) for _ in range(count)]


def test_a_linear_truth_is_found_and_survives_its_file(tmp_path):
    found = samples(200)
    truth = {"detail_fine": 2.0, "colour": 1.0}
    learnt = fit_complexity(found, [0.1 + sum(truth.get(k, 0) * v for k, v in s.items()) for s in found], ridge=1e-9)
    assert learnt.bias == pytest.approx(0.1, abs=1e-6)
    for name in STATISTICS:
        assert learnt.weights[name] == pytest.approx(truth.get(name, 0), abs=1e-5)
    learnt.save(tmp_path / "c.json")
    assert LinearComplexity.load(tmp_path / "c.json") == learnt
    for scene in scenes_of([noise(60)]):
        expected = learnt.bias + sum(learnt.weights[k] * v for k, v in mip_statistics(scene).items())
        assert learnt(scene) == pytest.approx(min(max(expected, 0), 1))


def test_a_statistic_that_never_differs_gets_no_weight():
    found = [sample | {"change": 0.5} for sample in samples(50)]
    learnt = fit_complexity(found, [sample["contrast"] for sample in found])
    assert learnt.weights["change"] == 0
    assert learnt.weights["contrast"] > 0.9


def test_a_sum_outside_of_its_range_is_cut():
    for scene in scenes_of([plain()]):
        assert LinearComplexity({}, bias=3.0)(scene) == 1
        assert LinearComplexity({}, bias=-3.0)(scene) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "give a file that LinearComplexity.save wrote"),
        ("[]", "it has no"),
        (json.dumps({"format": "texvlm complexity 1", "weights": {}}), "'bias'"),
        (
            json.dumps({"format": "texvlm complexity 1", "bias": 0, "weights": {"wings": 1}}),
            "unknown statistic 'wings'",
        ),
        (json.dumps({"format": "texvlm complexity 1", "bias": "much", "weights": {}}), "weight bias is 'much'"),
    ],
)
def test_files_that_are_none(tmp_path, content, words):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ValueError, match=words) as caught:
        LinearComplexity.load(tmp_path / "c.json")
    assert "c.json" in str(caught.value)


@pytest.mark.parametrize(
    ("statistics", "targets", "words"),
    [
        ([], [], "two or more"),
        (samples(3), [0.1, 0.2], "a target each"),
        (samples(2), [0.1, 2.0], "targets are shares"),
        ([{"contrast": 0.1}] * 2, [0.1, 0.2], "is missing"),
    ],
)
def test_nothing_is_learnt_from_nonsense(statistics, targets, words):
    with pytest.raises(ValueError, match=words):
        fit_complexity(statistics, targets)
