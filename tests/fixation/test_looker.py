"""The owner of policies: one for each source, dropped on failure, never another source's business."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixation.scenes import plain, scenes_of

from texvlm import Engine, LookError
from texvlm.fixation import Fixed, Look, Looker, Mips, Saccades, Saliency, Scene, scene_of
from texvlm.fixation.scene import Clock


@pytest.fixture(scope="module")
def scene() -> Scene:
    return next(scenes_of([plain()]))


class Counting:
    """Looks one step further to the right in each frame, and fails in source 1 on the third."""

    name, count = "counting", 1

    def __init__(self, answer: object = None) -> None:
        self.frames, self.answer = 0, answer

    def look(self, scene: Scene) -> Look:
        self.frames += 1
        if scene.source == 1 and self.frames == 3:
            raise KeyError("the third")
        return Look(np.array([self.frames / 10, 0.5])) if self.answer is None else self.answer  # type: ignore[return-value]


def steps(looker: Looker, scene: Scene, *sources: int) -> list[int]:
    return [round(looker.look(replace(scene, source=source)).fixations[0, 0] * 10) for source in sources]


def test_each_source_has_a_policy_of_its_own(scene):
    looker = Looker(Counting)
    assert steps(looker, scene, 0, 0, 2, 0, 2, 1) == [1, 2, 1, 3, 2, 1]
    looker.reset(0)
    assert steps(looker, scene, 0, 2) == [1, 3]
    looker.reset()
    assert steps(looker, scene, 0, 2) == [1, 1]
    looker.reset(17)  # one that never looked


def test_a_policy_that_raises_is_named_and_no_other_source_notices(scene):
    looker = Looker(Counting)
    steps(looker, scene, 0, 1, 1)
    with pytest.raises(LookError, match=r"look policy counting failed on source 1: KeyError: 'the third'") as caught:
        steps(looker, scene, 1)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
    assert steps(looker, scene, 0, 1) == [2, 1]  # source 1 begins anew


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((0.5, 0.5), "answered with tuple"),
        (Look(np.zeros((2, 2))), "promised 1 fixations and gave 2"),
    ],
)
def test_what_is_no_look_is_refused(scene, answer, words):
    with pytest.raises(LookError, match=f"look policy counting failed on source 0.*{words}"):
        Looker(lambda: Counting(answer)).look(scene)


def test_a_promised_score_map_must_come(scene):
    class Mapless(Counting):
        count = None

    with pytest.raises(LookError, match="promised a score map"):
        Looker(Mapless).look(scene)


def test_a_policy_that_cannot_be_made_is_named_too(scene):
    def broken():
        raise ValueError("no weights")

    with pytest.raises(LookError, match="look policy broken failed on source 0: ValueError: no weights"):
        Looker(broken).look(scene)


def test_the_person_at_the_keyboard_is_not_a_failure(scene):
    class Slow(Counting):
        def look(self, scene):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Looker(Slow).look(scene)


# ---- scenes


def test_a_scene_is_read_from_an_engine(rng):
    frame = rng.integers(0, 256, (100, 200, 3), dtype=np.uint8)
    with Engine(backend="cpu", sources=2, threshold=0) as engine:
        with pytest.raises(ValueError, match="source 1 has no frame yet"):
            scene_of(engine, 1)
        report = engine.submit(frame, 1)
        scene = scene_of(engine, 1, time_s=2.0, report=report)
        assert (scene.source, scene.size, scene.time_s) == (1, (200, 100), 2.0)
        np.testing.assert_allclose(scene.mips.colour(0), frame / 255, atol=1e-6)
        np.testing.assert_allclose(
            scene.mips.gray(1), (engine.read_level(1, source=1) / 255) @ [0.299, 0.587, 0.114], atol=1e-6
        )
        assert scene.report.tiles.all()
        assert scene.mips.cell(3) == (8 / 200, 8 / 100)


@pytest.mark.parametrize(("longest", "level"), [(10_000, 0), (200, 0), (199, 1), (100, 1), (50, 2), (1, 4)])
def test_the_level_that_is_small_enough(longest, level):
    assert Mips(lambda level: np.zeros((1, 1, 3)), (200, 100), 5).level_within(longest) == level


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_mips_of_any_channels_are_rgb(rng, channels):
    texels = rng.random((4, 6, channels), np.float32)
    mips = Mips(lambda level: texels, (6, 4), 5)
    assert mips.colour(0).shape == (4, 6, 3)
    np.testing.assert_array_equal(mips.colour(0)[..., 0], texels[..., 0])


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([5.0, 5.1, 5.3], [0, 0.1, 0.3]),
        ([None, None, None], [0, 0.04, 0.08]),
        ([5.0, 1.0, 1.1], [0, 0.04, 0.14]),  # a broken time, then as before
        ([5.0, None, 6.0, 6.5], [0, 0.04, 0.08, 0.58]),
        ([5.0, float("nan"), 6.0], [0, 0.04, 0.08]),
        ([5.0, 5.0, 5.1], [0, 0, 0.1]),
    ],
)
def test_a_clock_never_goes_back(times, expected):
    clock = Clock()
    assert [clock.tick(time) for time in times] == pytest.approx(expected)


def test_policies_of_many_sources_do_not_mix(rng):
    frames = [rng.integers(0, 256, (96, 160, 3), dtype=np.uint8) for _ in range(2)]

    def path(looker: Looker, sources: list[int]) -> list[list[float]]:
        found = []
        with Engine(backend="cpu", sources=2) as engine:
            for step in range(30):
                for source in sources:
                    engine.submit(frames[source], source)
                    look = looker.look(scene_of(engine, source, time_s=step / 30))
                    if source == 1:
                        found.append(look.fixations[0].tolist())
        return found

    alone, beside = (path(Looker(lambda: Saccades(Saliency())), sources) for sources in ([1], [0, 1]))
    assert alone == beside
    assert len({tuple(place) for place in alone}) > 2
    assert Looker(Fixed).look(scene_at_rest()).fixations.tolist() == [[0.5, 0.5]]


def scene_at_rest() -> Scene:
    return Scene(0, (4, 4), Mips(lambda level: np.zeros((1, 1, 3)), (4, 4), 5))
