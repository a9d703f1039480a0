"""texvlm.toml: flag before file before default, and no misspelling goes unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from texvlm.cli.settings import read_config


def settings(call, *arguments):
    outcome = call("config", "show", "--json", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome.json


def test_without_a_file_all_are_defaults(call):
    shown = settings(call)
    assert shown["config"] is None
    assert {"encode", "classify", "similar", "demo", "layouts", "bench"} <= set(shown["commands"])
    assert shown["commands"]["encode"]["threshold"] == {"value": "8/255", "from": "default"}
    assert {entry["from"] for command in shown["commands"].values() for entry in command.values()} == {"default"}


def test_every_flag_of_encode_is_a_field(call):
    fields = set(settings(call, "encode")["commands"]["encode"])
    help_text = call("encode", "--help").out
    flags = {word.strip("│ *,.;") for word in help_text.split() if word.startswith("--")}
    assert {flag[2:].replace("-", "_") for flag in flags} - {"help", "config", "json"} == fields


def test_the_file_in_the_working_folder_is_found(call):
    Path("texvlm.toml").write_text("tokens = 40\n[encode]\ntokens = 172\nfov-deg = 90.5\nmean = [0.5, 0.4, 0.3]\n")
    shown = settings(call)
    assert shown["config"] == "texvlm.toml"
    encode, layouts = shown["commands"]["encode"], shown["commands"]["layouts"]
    assert encode["tokens"] == {"value": 172, "from": "texvlm.toml [encode]"}
    assert encode["fov_deg"] == {"value": 90.5, "from": "texvlm.toml [encode]"}
    assert encode["mean"]["value"] == "0.5,0.4,0.3"
    assert layouts["tokens"] == {"value": 40, "from": "texvlm.toml"}
    assert "texvlm.toml [encode]" in call("config", "show", "encode").out


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(call):
    Path("other.toml").write_text('[layouts]\nsize = "320x240"\ntokens = 20\n')
    arguments = ("layouts", "quadtree", "--json", "--config", "other.toml")
    assert call(*arguments).json["size"] == [320, 240]
    assert call(*arguments).json["layouts"][0]["tokens"] == 20
    assert call(*arguments, "--tokens", "30").json["layouts"][0]["tokens"] == 30
    assert call("layouts", "quadtree", "--json").json["layouts"][0]["tokens"] == 268


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("tokens = ", "is not TOML"),
        ("tokken = 3", "unknown field 'tokken'; did you mean tokens?"),
        ("[encode]\nquick = true", "texvlm.toml [encode]: unknown field 'quick'"),
        ("[encod]\ntokens = 3", "did you mean encode?"),
        ("[layouts]\ntokens = 'many'", "texvlm.toml [layouts]: tokens = 'many'"),
        ("[layouts]\ntokens = 2000-01-01", "accepted: a text, a number, true or false"),
        ("json = true", "unknown field 'json'"),
    ],
)
def test_what_a_file_may_not_hold(call, content, words):
    Path("texvlm.toml").write_text(content)
    assert words in call("layouts").complaint


def test_a_file_that_is_not_there(call):
    assert "gone.toml: No such file or directory" in call("layouts", "--config", "gone.toml").complaint


def test_reading_needs_no_command_line(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("a = 1\n[y]\na = 2\nc = true\n")
    config = read_config(path, {"x": {"a", "b"}, "y": {"a", "c"}})
    assert {n: f.value for n, f in config.of("x").items()} == {"a": "1"}
    assert {n: f.value for n, f in config.of("y").items()} == {"a": "2", "c": True}
    assert config.of("z") == {}
