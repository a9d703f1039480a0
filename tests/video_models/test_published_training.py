"""The committed results of training: the page says what the numbers say, and every head did learn."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

import texvlm

BENCHMARKS = Path(texvlm.__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def report():
    return json.loads((BENCHMARKS / "results" / "video-models.json").read_text(encoding="utf-8"))


def test_the_page_is_made_of_the_results(report):
    spec = importlib.util.spec_from_file_location("video_models_page", BENCHMARKS / "video_models_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page(report) == (BENCHMARKS / "results" / "video-models.md").read_text(encoding="utf-8")


def test_the_loss_of_every_head_fell_on_real_clips(report):
    assert len(report["heads"]) == 6
    for head in report["heads"]:
        assert head["last_loss"] < head["first_loss"], (head["task"], head["head"])


def test_it_was_tested_on_other_clips_than_it_learned_from(report):
    assert not set(report["train"]) & set(report["test"])
    assert set(report["importance"]["clips"]) == set(report["delta"]["clips"]) == set(report["test"])
    assert "-dirty" not in report["commit"]
