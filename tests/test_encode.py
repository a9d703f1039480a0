"""The encode job: what it stores, what it draws, and what it says."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from encode_runs import FRAMES, SETTINGS, after_calls, shard_bytes, with_
from sources.clips import write_clip
from token_batches import assert_same

from texvlm.drawing.pictures import sheet_size, write_png
from texvlm.encode import EncodeSettings, Progress, encode
from texvlm.engine import Engine
from texvlm.errors import SourceError, StoreError
from texvlm.sources import open_source
from texvlm.store import open_tokens
from texvlm.store.shards import ShardBuffer


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    encode(SETTINGS, folder)
    return folder


def test_stored_tokens_are_those_that_the_engine_hands_out(quiet: Path) -> None:
    layout, gaze = SETTINGS.make_layout(), SETTINGS.make_gaze()
    engine = Engine((160, 96), layout=layout, backend="cpu", dtype=torch.float16)
    with open_source("scene:160x96", frames=FRAMES) as source, engine, open_tokens(quiet) as store:
        assert len(store) == FRAMES
        for frame, found in zip(source, store, strict=True):
            engine.submit(frame)
            assert_same(found, engine.tokens(gaze.at(frame.pts)[None]))


def test_changes_give_back_the_same_batches_in_less_room(quiet: Path, tmp_path: Path) -> None:
    settings = with_(store="changes", moving=False)
    changes, full = encode(settings, tmp_path / "changes"), encode(with_(moving=False), tmp_path / "full")
    assert changes.bytes_written < full.bytes_written / 2
    with open_tokens(tmp_path / "changes") as a, open_tokens(tmp_path / "full") as b:
        for found, expected in zip(a, b, strict=True):
            assert_same(found, expected)


def test_the_report_counts_what_was_done(quiet: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    report = encode(SETTINGS, tmp_path, progress=seen.append)
    assert [(progress.frame, progress.total, progress.replaying) for progress in seen] == [
        (i + 1, FRAMES, False) for i in range(FRAMES)
    ]
    assert (report.status, report.frames, report.encoded, report.first_frame) == ("complete", FRAMES, FRAMES, 0)
    assert (report.size, report.tokens_per_frame, report.shards) == ((160, 96), 24, 3)
    assert report.tokens_sampled + report.tokens_reused == FRAMES * 24
    assert report.bytes_written == sum(len(data) for data in shard_bytes(tmp_path).values())
    assert (report.size_changes, report.reallocations) == (0, 0)
    assert seen[0].tiles_changed == 1
    assert 0 < report.tiles_changed < 1
    assert report.engine_ms_per_frame > 0
    with open_tokens(tmp_path) as store:
        meta = store.meta
        dirty = sum(int(batch.dirty.sum()) for batch in store)
    assert dirty == report.tokens_sampled == meta.counters["tokens_sampled"]
    assert meta.counters["tiles_dirty"] == report.tiles_dirty
    assert meta.settings["backend"] == "cpu"
    assert set(meta.timings_ms) == set(report.ms_per_frame)
    json.loads(report.model_dump_json())


def test_unchanged_frames_cost_no_tokens(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    (tmp_path / "in").mkdir()
    for i in range(5):
        write_png(tmp_path / "in" / f"{i}.png", image)
    report = encode(with_(input=str(tmp_path / "in"), moving=False, store="changes"), tmp_path / "out")
    assert (report.frames, report.tokens_sampled, report.bytes_uploaded) == (5, 24, image.nbytes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tokens": 5000}, ValueError, "5000 tokens are more than"),
        ({"tokens": 0}, ValueError, "0"),
        ({"layout": "spiral"}, ValueError, "spiral"),
        ({"layout_options": {"wings": 2}}, TypeError, "wings"),
        ({"input": "nowhere.mp4"}, SourceError, "nowhere.mp4"),
        ({"moving": False, "gaze": "nowhere.csv"}, SourceError, "nowhere.csv"),
        ({"dtype": "uint8", "mean": (0.5,) * 3, "std": (0.5,) * 3}, ValueError, "uint8 tokens cannot be normalised"),
        ({"backend": "abacus"}, ValueError, "abacus"),
        ({"layout_options": {"patch": 8}}, ValueError, "layout option 'patch' is a setting of its own"),
    ],
)
def test_settings_that_cannot_be_served_leave_nothing_behind(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encode(with_(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"fixations": ((float("nan"), 0.5),)},
        {"fixations": ()},
        {"every": 0},
        {"threshold": 2},
        {"dtype": "int8"},
        {"gaze": "a.csv"},
        {"wings": 2},
        {"mean": (0.5,), "std": (0.5,) * 3},
        {"std": (0.5,), "mean": (0.5,) * 3},
    ],
)
def test_settings_check_themselves(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        with_(**changes)


def test_a_frame_size_that_changes_midway_goes_on_in_a_new_shard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    sizes = [(64, 48)] * 3 + [(128, 96)] * 4 + [(64, 48)] * 2
    for i, (width, height) in enumerate(sizes):
        write_png(tmp_path / "in" / f"{i}.png", rng.integers(0, 256, (height, width, 3), np.uint8))
    settings = EncodeSettings(
        input=str(tmp_path / "in"), layout="uniform", backend="cpu", threshold=0, shard_frames=3, store="changes"
    )
    report = encode(settings, tmp_path / "out", preview=tmp_path / "p.mp4")
    assert (report.frames, report.size_changes, report.reallocations) == (9, 2, 1)
    with open_tokens(tmp_path / "out") as store:
        assert [(shard.frames, shard.tokens) for shard in store.meta.shards] == [(3, 12), (3, 48), (1, 48), (2, 12)]
        assert [tuple(batch.sizes[0]) for batch in store] == sizes
    with av.open(str(tmp_path / "p.mp4")) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {sheet_size((64, 48))}
    stopped = tmp_path / "stopped"
    encode(settings, stopped, stop=after_calls(8))
    encode(settings, stopped, resume=True)
    assert shard_bytes(stopped) == shard_bytes(tmp_path / "out")


def test_preview_and_still_show_every_frame_also_after_a_resume(tmp_path: Path) -> None:
    settings, out = with_(frames=12), tmp_path / "out"
    first = encode(settings, out, preview=tmp_path / "a.mp4", still=tmp_path / "a.png", stop=after_calls(10))
    assert (first.preview, first.still) == (str(tmp_path / "a.mp4"), str(tmp_path / "a.png"))
    encode(settings, out, preview=tmp_path / "b.mp4", still=tmp_path / "b.png", resume=True)
    times = []
    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as container:
            times.append([frame.time for frame in container.decode(video=0)])
    np.testing.assert_allclose(times[0], np.arange(10) / 30, atol=1e-4)
    np.testing.assert_allclose(times[1], np.arange(12) / 30, atol=1e-4)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()  # frame 8 of both
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".mp4", ".mp4", ".png", ".png"]


def test_pictures_that_cannot_be_written_are_named_and_lose_no_tokens(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write preview .*nowhere/p\.mp4"):
        encode(SETTINGS, tmp_path / "a", preview=tmp_path / "nowhere" / "p.mp4")
    with pytest.raises(StoreError, match=r"cannot write picture .*nowhere/p\.png"):
        encode(SETTINGS, tmp_path / "b", still=tmp_path / "nowhere" / "p.png")
    with pytest.raises(StoreError, match=r"cannot write picture .*p\.png: Is a directory"):
        # In the way only once the job runs: what is there before is refused at once.
        encode(
            SETTINGS,
            tmp_path / "c",
            still=tmp_path / "p.png",
            progress=lambda _: (tmp_path / "p.png").mkdir(exist_ok=True),
        )
    with open_tokens(tmp_path / "c") as store:
        assert (len(store), store.meta.status) == (FRAMES, "complete")


@pytest.mark.parametrize(
    ("pictures", "error", "words"),
    [
        ({"preview": "clip.mp4"}, StoreError, "it would replace the input"),
        ({"preview": "link.mp4"}, StoreError, "it would replace the input"),
        ({"still": "gaze"}, StoreError, "it would replace the gaze file"),
        ({"preview": "both", "still": "both"}, StoreError, "it would replace the preview"),
        ({"preview": "p.webm"}, ValueError, r"accepted: a file name that ends in \.mp4"),
        ({"still": "p.jpg"}, ValueError, r"accepted: a file name that ends in \.png"),
        ({"preview": "."}, StoreError, "it is a folder"),
    ],
    ids=str,
)
def test_pictures_replace_no_file_of_the_job_and_have_their_own_endings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: dict[str, str], error: type[Exception], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    Path("link.mp4").symlink_to(clip)
    Path("gaze").write_text("time,u,v\n0,0.5,0.5\n")
    before = {path: path.read_bytes() for path in (clip, Path("gaze"))}
    settings = with_(input="clip.mp4", gaze="gaze", moving=False, frames=None)
    with pytest.raises(error, match=words):
        encode(settings, "out", **pictures)
    assert before == {path: path.read_bytes() for path in before}
    assert not Path("out").exists()


def test_a_gaze_file_is_followed_and_its_coverage_reported(tmp_path: Path) -> None:
    samples = [f"{t / 100:.2f},{t / 50:.3f},0.5" for t in range(0, 50)]
    (tmp_path / "gaze.csv").write_text("\n".join(["time,u,v", *samples]))
    settings = with_(moving=False, gaze=str(tmp_path / "gaze.csv"))
    report = encode(settings, tmp_path / "out")
    assert report.gaze is not None
    assert report.gaze["fraction"] == pytest.approx(0.49 / 0.7)
    with open_tokens(tmp_path / "out") as store:
        rows = [batch.table[0] for batch in store]
    looked_at = [row["x"][row["side"] == row["side"].min()].mean() for row in rows]
    assert looked_at[0] < 50 < 110 < looked_at[-1]


def test_every_nth_frame(tmp_path: Path) -> None:
    encode(with_(every=5, frames=4), tmp_path)
    with open_tokens(tmp_path) as store:
        np.testing.assert_allclose([batch.pts[0] for batch in store], np.arange(4) * 5 / 30)


def test_one_shard_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffers: weakref.WeakSet[ShardBuffer] = weakref.WeakSet()
    made: list[int] = []
    real = ShardBuffer.__init__

    def counted(self: ShardBuffer, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        buffers.add(self)
        made.append(self.capacity)

    monkeypatch.setattr(ShardBuffer, "__init__", counted)
    alive: list[int] = []

    def progress(_: Progress) -> None:
        gc.collect()
        alive.append(len(buffers))

    encode(with_(shard_frames=2, frames=6), tmp_path, progress=progress)
    assert made == [2] * 3
    assert max(alive) == 1
