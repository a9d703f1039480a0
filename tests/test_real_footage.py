"""The engine's promises on real footage: the change guarantee, and tokens equal to a fresh engine's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from texvlm import Engine, open_source

CLIPS = ("screen_ide_commit.webm", "surveillance_people_one_by_one.mp4", "action_cup_shuffle.mp4")
FRAMES = 10
LIMIT = 8


@pytest.mark.data
@pytest.mark.parametrize("clip", CLIPS)
def test_real_frames_stay_within_the_threshold_and_tokens_are_never_stale(backend, data_folder, clip):
    with open_source(data_folder / clip) as video, Engine(backend=backend, threshold=LIMIT / 255) as engine:
        for index, frame in enumerate(itertools.islice(video, FRAMES)):
            report = engine.submit(frame)
            stored = engine.read_level(0)
            assert np.abs(stored.astype(np.int16) - frame.pixels).max() <= LIMIT
            batch = engine.tokens((0.4, 0.5))
            with Engine(backend=backend, threshold=0) as fresh:
                fresh.submit(stored)
                assert torch.equal(batch.pixels, fresh.tokens((0.4, 0.5)).pixels)
            if index:
                assert report.tiles_dirty < report.tiles_total, "a still background is not uploaded again"
                assert not batch.dirty.all()
