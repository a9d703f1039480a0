"""The evaluation over time on next to nothing: it runs, goes on where it stopped, and repeats itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from texvlm.cli import run
from texvlm.encoders.untrained import untrained_vit
from texvlm.errors import ModelError, SourceError, StoreError
from texvlm.evaluation import report
from texvlm.evaluation.report import Origin
from texvlm.evaluation.temporal import PARTS, TemporalSettings, run_temporal
from texvlm.evaluation.temporal.clips import find_clips
from texvlm.evaluation.temporal.contestants import CONTESTANTS
from texvlm.evaluation.temporal.markdown import report_text
from texvlm.evaluation.temporal.methods import Step
from texvlm.evaluation.temporal.report import read_parts
from texvlm.evaluation.temporal.soak import run_soak

QUICK = TemporalSettings(quick=True, clips=("fade", "scene-cut"), methods=("cached", "gated-25"), frames=4)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny models gain nothing from more, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One quick run of everything."""
    folder = tmp_path_factory.mktemp("temporal") / "out"
    told = []
    written = run_temporal(QUICK, folder, progress=lambda what, done, total: told.append((what, done, total)))
    return folder, written, told


def test_every_part_is_written_with_plots_and_one_report(results):
    folder, written, told = results
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in written}
    assert names == {"eval-temporal.md"} | {f"eval-temporal-{name}.{end}" for name in PARTS for end in ("json", "png")}
    text = (folder / "eval-temporal.md").read_text()
    assert text.count("Quick run: no number means anything.") == len(PARTS)
    assert "## Goals" in text
    for name in PARTS:
        assert f"(eval-temporal-{name}.png)" in text
    assert all((folder / f"eval-temporal-{name}.png").read_bytes().startswith(b"\x89PNG") for name in PARTS)
    assert {what.split(":")[0] for what, _, _ in told} == set(PARTS)
    assert all(0 <= done <= total for _, done, total in told)


def test_every_clip_meets_every_method(results):
    parts = read_parts(results[0])
    close = {(row.clip, row.layout, row.method) for row in parts["agreement"].rows}
    assert close == {
        (clip, layout, method)
        for clip in ("fade", "scene-cut")
        for layout in ("uniform", "quadtree")
        for method in ("cached", "gated-25")
    }
    paces = {(row.clip, row.method, row.model, row.sources) for row in parts["time"].rows}
    assert len(paces) == len(parts["time"].rows) == 2 * 2 * 2
    assert {row.model for row in parts["time"].rows} == {"real weights", "tiny"}
    assert [row.method for row in parts["end-to-end"].rows] == ["full", "cached", "gated-25"]
    assert parts["end-to-end"].dense[0].tokens == 64


def test_reports_name_no_folder_of_this_machine(results):
    for path in results[0].glob("*.json"):
        assert str(results[0].parent) not in path.read_text()


def test_what_is_there_is_not_run_again(results):
    folder = results[0]
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    written = run_temporal(QUICK, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")} == before
    assert not [path for path in written if path.suffix == ".json"]


def test_a_second_run_gives_the_same_numbers(results, tmp_path):
    run_temporal(QUICK.model_copy(update={"parts": ("agreement",), "layouts": ("uniform",)}), tmp_path)
    again = read_parts(tmp_path)["agreement"].rows
    assert again == [row for row in read_parts(results[0])["agreement"].rows if row.layout == "uniform"]


@pytest.mark.parametrize(("commit", "expected"), [("abc", 1), ("abc-dirty", 2)])
def test_a_run_that_was_cut_off_goes_on(tmp_path, monkeypatch, commit, expected):
    """After its last clip; from the beginning where the commit does not say what was run."""
    monkeypatch.setattr(report, "source_commit", lambda: commit)
    settings = QUICK.model_copy(update={"parts": ("agreement",), "layouts": ("uniform",), "methods": ("cached",)})
    played = []

    def cut_off(what, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_temporal(settings, tmp_path, progress=cut_off)
    kept = tmp_path / "unfinished" / "eval-temporal-agreement.json"
    assert len(json.loads(kept.read_text())["rows"]) == 1
    assert not (tmp_path / "eval-temporal-agreement.json").exists()

    from texvlm.evaluation.temporal import agreement

    compare = agreement.compare
    monkeypatch.setattr(agreement, "compare", lambda *args: played.append(args[2].name) or compare(*args))
    run_temporal(settings, tmp_path)
    assert len(played) == expected
    assert len(read_parts(tmp_path)["agreement"].rows) == 2
    assert not (tmp_path / "unfinished").exists()


def test_a_result_of_another_version(tmp_path):
    (tmp_path / "eval-temporal-time.json").write_text(json.dumps({"part": "time", "old": 1}))
    with pytest.raises(StoreError, match=r"eval-temporal-time\.json is no result of this version"):
        read_parts(tmp_path)


def test_an_empty_report_is_a_title():
    assert report_text({}, []).strip() == "# What does reuse over time save, and what does it lose?"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"parts": ("speed",)}, ValueError, "part 'speed'; accepted: agreement"),
        ({"layouts": ("rings",)}, ValueError, "layout 'rings'; accepted: uniform"),
        ({"methods": ("magic",)}, ValueError, "method 'magic'; accepted: auto"),
        ({"clips": ("holiday",)}, ValueError, "clip 'holiday'; accepted: scene, fade"),
        ({"quick": False}, ValueError, "no model is given; name the folder"),
        ({"model": "nowhere"}, ModelError, "nowhere: no such folder"),
        ({"data": "."}, SourceError, "holds no video"),
    ],
)
def test_what_cannot_be_run(tmp_path, monkeypatch, change, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run_temporal(TemporalSettings.model_validate({"quick": True} | change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["eval", "temporal", "--quick", "--only", "agreement", "--clips", "fade", "--methods", "cached"]
    assert run([*words, "--layouts", "uniform", "--frames", "3", "--out", "here"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("# What does reuse over time save")
    assert "written: here/eval-temporal-agreement.json" in printed.err
    row = read_parts(tmp_path / "here")["agreement"].rows[0]
    assert (row.clip, row.method, row.frames) == ("fade", "cached", 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["temporal"], "no model is given"),
        (["temporal", "--quick", "--cache", "x"], "--cache means nothing to `texvlm eval temporal`"),
        (["--quick", "--frames", "9"], "--frames means nothing to `texvlm eval foveation`"),
        (["spatial"], "an evaluation of 'spatial'; accepted: foveation, temporal"),
    ],
)
def test_what_the_command_refuses(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert run(["eval", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- soak


class Hoarder:
    """A method that forgets nothing."""

    name = "hoarder"

    def begin(self, encoder, sources):
        self.encoder, self.kept = encoder, []

    def step(self, batch, moment):
        self.kept.append(batch.pixels.clone())
        features = self.encoder(batch)
        return Step(features, np.ones(batch.pixels.shape[:2], np.bool_), 1, 1, "full")

    def state_bytes(self):
        return sum(pixels.numel() * pixels.element_size() for pixels in self.kept)


def soak(method, frames):
    encoder = untrained_vit(32, 2, 2, image=64)
    clips = [*find_clips(None, frames=3, seed=0, size=(96, 64))[:1], *find_clips(None, frames=4, seed=0, size=(64, 96))]
    settings = TemporalSettings(quadtree_tokens=22)
    return run_soak(encoder, method, clips[:2], settings, Origin.now(settings, "x", 1), frames=frames)


def test_a_long_run_tells_what_grows():
    found = soak(Hoarder(), 30)
    token = 22 * 3 * 16 * 16 * 4
    assert found.state_bytes == [token * (index + 1) for index in range(30)]
    assert found.state_growth == token * (30 - 6)
    assert (found.encoded, found.every, found.minutes) == (1.0, 1, 0.02)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_what_is_kept_stays_flat_over_cuts_sizes_and_rounds(name):
    found = soak(CONTESTANTS[name](), 30)
    assert found.state_growth == 0
    assert len(found.rss_mib) == 30
    assert found.encoded < 1


def test_too_short_a_soak():
    with pytest.raises(ValueError, match="9 frames of 2 clips; give at least 10"):
        soak(Hoarder(), 9)
