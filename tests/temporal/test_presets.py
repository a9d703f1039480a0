"""Presets and settings: files, refusals, and what `auto` settles on, with hysteresis."""

from __future__ import annotations

from dataclasses import replace

import pytest

from texvlm.temporal.presets import AUTO, PRESETS, AutoPreset, FrameFacts, kind_of, settings_of
from texvlm.temporal.settings import TemporalSettings, read_settings, settings_from, settings_text

CALM = FrameFacts(0.05, noise=0.3)
TALK = FrameFacts(0.6, noise=0.4)
CODE = FrameFacts(0.03, noise=0.0, unchanged=0.99)


@pytest.mark.parametrize("name", [*PRESETS, AUTO])
def test_presets_go_to_a_file_and_back(name, tmp_path):
    settings = settings_of(name)
    assert settings.name == name
    path = tmp_path / "own.toml"
    path.write_text(settings_text(settings))
    assert read_settings(path) == settings == settings_of(path)


def test_none_and_numbers_survive_a_file(tmp_path):
    settings = TemporalSettings('mine "x"', max_age=None, cut_bar=None, motion_ms=None, check_every=9, deadline_ms=2.5)
    (tmp_path / "own.toml").write_text(settings_text(settings))
    assert settings_of(str(tmp_path / "own.toml")) == settings


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"gates": 0.1}, "no temporal setting 'gates'; accepted: check_every"),
        ({"gate": -0.1}, "gate is -0.1"),
        ({"threshold": -1}, "threshold -1"),
        ({"moving_threshold": 300}, "threshold 300"),
        ({"level": "L7"}, "level is 'L7'; accepted: L0, L1, L2, L3"),
        ({"flash": "skip"}, "flash is 'skip'"),
        ({"full_share": 1.5}, "full_share is 1.5"),
        ({"max_age": 0}, "max_age of 0"),
        ({"deadline_ms": 0}, "deadline_ms is 0"),
        ({"target_cosine": 1.0}, "target_cosine is 1.0"),
        ({"check_every": 0}, "check_every is 0"),
        ({"gate": "wide"}, "wrong kind"),
    ],
)
def test_what_cannot_be_is_refused(values, says):
    with pytest.raises(ValueError, match=says):
        settings_from(values)


def test_files_and_names_that_are_none_are_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("gate = 0.1\nshutter = 3\n")
    (tmp_path / "worse.toml").write_text("gate 0.1")
    with pytest.raises(ValueError, match=r"bad\.toml: no temporal setting 'shutter'"):
        settings_of(tmp_path / "bad.toml")
    with pytest.raises(ValueError, match=r"worse\.toml is not TOML"):
        settings_of(tmp_path / "worse.toml")
    with pytest.raises(ValueError, match="preset 'tv'; accepted: auto, webcam"):
        settings_of("tv")
    with pytest.raises(OSError, match="gone"):
        settings_of("gone.toml")


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ([CALM] * 20, "surveillance"),
        ([CODE] * 20, "screen"),
        ([TALK] * 20, "conversation"),
        ([FrameFacts(0.35, noise=0.4)] * 20, "webcam"),
        ([FrameFacts(0.95, noise=None)] * 20, "sports"),
        ([replace(CALM, moving=True)] * 20, "sports"),
        ([replace(TALK, cut=at % 10 == 0) for at in range(20)], "movie"),
    ],
)
def test_kinds_are_told_apart(facts, name):
    assert kind_of(facts) == name


def test_auto_settles_early_and_then_changes_its_mind_slowly():
    auto = AutoPreset(window=30, first=10)
    names = [auto.observe(CALM) for _ in range(40)]
    assert names[8] is None
    assert set(names[9:]) == {"surveillance"}
    for _ in range(29):  # ends the window that began, and a bit: not yet twice in a row
        assert auto.observe(TALK) == "surveillance"
    later = [auto.observe(TALK) for _ in range(60)]
    assert later[0] == "surveillance"
    assert later[-1] == "conversation"
    for _ in range(30):
        auto.observe(CALM)
    assert auto.observe(TALK) == "conversation"
