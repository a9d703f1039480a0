"""The whole evaluation on next to nothing: every part runs, goes on where it stopped, and repeats itself."""

from __future__ import annotations

import json

import pytest

from texvlm.cli import run
from texvlm.errors import ModelError, SourceError, StoreError
from texvlm.evaluation import PARTS, EvalSettings, run_evaluation
from texvlm.evaluation.markdown import report_text, verdicts
from texvlm.evaluation.report import Share, read_parts

QUICK = EvalSettings(quick=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One quick run of everything."""
    folder = tmp_path_factory.mktemp("eval")
    told = []
    written = run_evaluation(
        QUICK,
        folder / "out",
        cache=folder / "features",
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    return folder, written, told


def test_every_part_is_written_with_plots_and_one_report(results):
    folder, written, told = results
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {path.name for path in written}
    assert names == {"eval.md"} | {f"eval-{name}.{ending}" for name in PARTS for ending in ("json", "png")}
    text = (folder / "out" / "eval.md").read_text()
    assert text.count("Quick run: no number means anything.") == len(PARTS)
    for name in PARTS:
        assert f"(eval-{name}.png)" in text
    assert all((folder / "out" / f"eval-{name}.png").read_bytes().startswith(b"\x89PNG") for name in PARTS)
    assert {what.split(":")[0] for what, _, _ in told} == set(PARTS)
    assert all(0 <= done <= total for _, done, total in told)


def test_reports_name_no_folder_of_this_machine(results):
    folder, _, _ = results
    for path in (folder / "out").glob("*.json"):
        assert str(folder) not in path.read_text()


def test_every_method_is_read_every_way(results):
    part = read_parts(results[0] / "out")["foveation"]
    found = {(reading.method, reading.readout) for reading in part.readings}
    assert len(found) == len(part.readings) == 10 + 10 + 6
    assert {reading.fixation for reading in part.readings} == {"on", "near", "away"}
    assert {reading.positions for reading in part.readings} == {"absolute", "centred"}
    for reading in part.readings:
        assert reading.targets == 8 == sum(size.targets for size in reading.by_size)
        assert 0 <= reading.accuracy.low <= reading.accuracy.value <= reading.accuracy.high <= 1
        right = sum(size.right * size.targets for size in reading.by_size)
        assert right == pytest.approx(reading.accuracy.value * 8, abs=0.01)


def test_the_fine_tune_trains_the_last_blocks(results):
    part = read_parts(results[0] / "out")["finetune"]
    assert len(part.rows) == 3
    assert part.parameters == 2 * (4 * (32 * 32 + 32) + 2 * 32 * 128 + 128 + 32 + 4 * 32)
    assert all(len(row.losses) == part.epochs for row in part.rows)


def test_what_is_there_is_not_run_again(results):
    folder, _, _ = results
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.json")}
    written = run_evaluation(QUICK, folder / "out", cache=folder / "features")
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.json")} == before
    assert not [path for path in written if path.suffix == ".json"]


def test_a_second_run_gives_the_same_numbers(results, tmp_path):
    """Features are computed anew for what the first run kept, so this is no comparison of a cache with itself."""
    kept = read_parts(results[0] / "out")
    run_evaluation(QUICK.model_copy(update={"parts": ("pictures", "agreement")}), tmp_path, cache=None)
    for name, part in read_parts(tmp_path).items():
        assert part.rows == kept[name].rows


def test_only_the_parts_asked_for(tmp_path):
    run_evaluation(QUICK.model_copy(update={"parts": ("pictures",)}), tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "eval-pictures.json",
        "eval-pictures.png",
        "eval.md",
    }


def test_verdicts_say_met_or_missed_by_the_numbers(results):
    part = read_parts(results[0] / "out")["foveation"].model_copy(deep=True)
    wanted = {
        ("box means", "quadtree 40"): {"of_dense": Share(value=0.95, low=0.9, high=1)},
        ("region token", "quadtree 40"): {"of_dense": Share(value=0.85, low=0.8, high=0.9)},
        ("box means", "equal-count uniform"): {"accuracy": Share(value=0.3, low=0.2, high=0.4)},
        ("region token", "equal-count uniform"): {"accuracy": Share(value=0.3, low=0.2, high=0.4)},
    }
    for reading in part.readings:
        for name, value in wanted.get((reading.readout, reading.method), {}).items():
            setattr(reading, name, value)
    first = {line.split(":")[0]: line for line in reversed(verdicts(part)) if "Target" in line}
    assert "**met**" in first["- generated, box means"]
    assert "**missed**" in first["- generated, region token"]


def test_a_result_of_another_version(results, tmp_path):
    path = tmp_path / "eval-cost.json"
    path.write_text(json.dumps({"part": "cost", "old": 1}))
    with pytest.raises(StoreError, match=r"eval-cost\.json is no result of this version"):
        read_parts(tmp_path)


def test_an_empty_report_is_a_title():
    assert report_text({}, []).strip() == "# Does foveation pay?"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"parts": ("speed",)}, ValueError, "part 'speed'; accepted: foveation"),
        ({"quick": False}, ValueError, "no model is given; name the folder"),
        ({"model": "nowhere"}, ModelError, "nowhere: no such folder"),
        ({"data": "nowhere"}, SourceError, "holds no photo"),
    ],
)
def test_what_cannot_be_run(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        run_evaluation(EvalSettings.model_validate({"quick": True} | change), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["eval", "--quick", "--only", "pictures", "--out", "here", "--tokens", "60"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("# Does foveation pay?")
    assert "written: here/eval-pictures.json" in printed.err
    assert run(["eval", "--only", "foveation"]) == 2
    assert "texvlm: no model is given" in capsys.readouterr().err


@pytest.mark.data
def test_photos_are_one_more_test_set(data_folder, tmp_path):
    settings = QUICK.model_copy(update={"parts": ("foveation",), "data": data_folder})
    run_evaluation(settings, tmp_path)
    part = read_parts(tmp_path)["foveation"]
    assert {reading.test for reading in part.readings} == {"generated", "photos"}
