"""Policies on video: the procedural scene, whose moving things are known, and real footage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from texvlm import Engine, open_source
from texvlm.fixation import Changes, Fixed, Looker, Peaks, Pursuit, Saccades, Saliency, parse_look, scene_of
from texvlm.sources.scene import SceneSource


def test_changes_lead_the_look_to_things_that_move() -> None:
    looker, inside = Looker(lambda: Peaks(Changes())), []
    with open_source("scene:640x360", frames=14) as source, Engine(backend="cpu") as engine:
        assert isinstance(source, SceneSource)
        for index, frame in enumerate(source):
            if index == 7:
                break  # the cut of this scene
            report = engine.submit(frame)
            look = looker.look(scene_of(engine, time_s=frame.pts, report=report))
            x, y = look.fixations[0] * frame.size
            near = 24  # a tile and a half: what fades, trails behind
            boxes = source.boxes(index)
            inside.append(
                any(x0 - near < x < x1 + near and y0 - near < y < y1 + near for x0, y0, x1, y1 in boxes.tolist())
            )
    assert all(inside[1:])  # in the first frame, everything is new


def test_pursuit_stays_on_every_thing_of_the_scene_that_is_not_tiny() -> None:
    last = 29  # before the cut
    with open_source("scene:1280x720", frames=60) as source, Engine(backend="cpu") as engine:
        assert isinstance(source, SceneSource)
        first = source.boxes(0)
        large = [k for k, box in enumerate(first) if box[2] - box[0] > 90]
        travelled = np.abs(source.boxes(last)[large] - first[large]).max(axis=1)
        assert len(large) == 5
        assert travelled.max() > 150
        pursuits = [
            Pursuit(Fixed(((float(x0 + x1) / 2560, float(y0 + y1) / 1440),))) for x0, y0, x1, y1 in first[large]
        ]
        for index, frame in enumerate(source):
            if index > last:
                break
            engine.submit(frame)
            scene = scene_of(engine, time_s=frame.pts)
            for pursuit, box in zip(pursuits, source.boxes(index)[large], strict=True):
                at = pursuit.look(scene).fixations[0] * (1280, 720)
                apart = np.abs(at - (box[:2] + box[2:]) / 2) / (box[2:] - box[:2])
                assert apart.max() < 0.25  # of its width and height


@pytest.mark.data
@pytest.mark.parametrize("look", ["saccades", "changes:count=2", "pursuit", "saliency:follow=map"])
def test_real_footage_is_looked_at_the_same_way_twice(data_folder: Path, look: str) -> None:
    clip = data_folder / "action_cup_shuffle.mp4"

    def looks() -> list[list[float]]:
        looker, found = Looker(parse_look(look).make), []
        with open_source(clip) as source, Engine(backend="cpu") as engine:
            for _ in range(12):
                frame = next(source)
                report = engine.submit(frame)
                answer = looker.look(scene_of(engine, time_s=frame.pts, report=report))
                found.append(
                    answer.fixations.ravel().tolist() + ([] if answer.score is None else answer.score.ravel().tolist())
                )
        return found

    first, again = looks(), looks()
    assert first == again
    assert np.isfinite(np.array(first)).all()
    assert len({tuple(place) for place in first}) > 1  # it does look around


def test_saccades_visit_several_places_of_the_scene() -> None:
    looker, found = Looker(lambda: Saccades(Saliency())), []
    with open_source("scene:static:1280x720", frames=60) as source, Engine(backend="cpu") as engine:
        for frame in source:
            engine.submit(frame)
            found.append(looker.look(scene_of(engine, time_s=frame.pts)).fixations[0])
    moves = np.abs(np.diff(found, axis=0)).sum(axis=1) > 0
    assert 5 <= moves.sum() <= 8  # 3 to 4 a second, for two seconds
    visited = np.unique(np.round(found, 2), axis=0)
    assert len(visited) >= 5
