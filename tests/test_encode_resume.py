"""The encode job disturbed: killed, stopped, cut off; and going on as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from encode_runs import FRAMES, SETTINGS, after_calls, shard_bytes, with_
from token_batches import assert_same

from texvlm.drawing.pictures import write_png
from texvlm.encode import EncodeSettings, Progress, encode
from texvlm.errors import SourceError, StoreError
from texvlm.frames import Frame
from texvlm.sources import Source
from texvlm.store import open_tokens

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    encode(SETTINGS, folder)
    return folder


KILLED = """
import os, signal, sys
from texvlm.encode import EncodeSettings, encode

def progress(now):
    if now.frame == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

encode(EncodeSettings.model_validate_json(sys.argv[1]), sys.argv[2], resume=True, progress=progress)
"""


@pytest.mark.parametrize("store", ["full", "changes"])
def test_kill_9_and_resume_give_the_bytes_of_a_quiet_run(tmp_path: Path, store: str) -> None:
    settings, out = with_(store=store), tmp_path / "out"
    for frame in (5, 19):  # in the first shard, so that nothing is left; then in the third
        process = subprocess.run(
            [sys.executable, "-c", KILLED, settings.model_dump_json(), str(out), str(frame)],
            env=ENVIRONMENT,
            check=False,
            timeout=120,
        )
        assert process.returncode == -signal.SIGKILL
    with open_tokens(out) as tokens:
        assert (len(tokens), tokens.meta.status) == (16, "running")
    (out / "tokens-00002.safetensors.tmp").write_bytes(b"left by a death while writing")
    seen: list[Progress] = []
    report = encode(settings, out, resume=True, progress=seen.append)
    assert (report.first_frame, report.encoded, report.status) == (16, FRAMES - 16, "complete")
    assert [progress.replaying for progress in seen] == [True] * 16 + [False] * 6
    # a replay samples the last stored frame only, and that is not counted
    assert report.tokens_sampled + report.tokens_reused == (FRAMES - 16) * 24
    encode(settings, tmp_path / "quiet")
    assert shard_bytes(out) == shard_bytes(tmp_path / "quiet")
    with open_tokens(out) as resumed, open_tokens(tmp_path / "quiet") as quiet:
        assert resumed.meta.counters == quiet.meta.counters
    assert not list(out.glob("*.tmp"))


def after(frames: int) -> tuple[Callable[[Progress], None], Callable[[], bool]]:
    """A progress callback and a stop callable that asks to stop once so many frames are behind."""
    seen: list[int] = []
    return lambda progress: seen.append(progress.frame), lambda: seen[-1] >= frames


@pytest.mark.parametrize("frames", [1, 8, 13])
def test_a_stop_keeps_every_frame_and_a_resume_gives_the_same_bytes(quiet: Path, tmp_path: Path, frames: int) -> None:
    progress, stop = after(frames)
    report = encode(SETTINGS, tmp_path, progress=progress, stop=stop)
    assert (report.status, report.frames) == ("stopped", frames)
    with open_tokens(tmp_path) as found, open_tokens(quiet) as expected:
        for i in range(frames):
            assert_same(found[i], expected[i])
    progress, stop = after(3)  # during the replay of the next run, if there is one
    again = encode(SETTINGS, tmp_path, resume=True, progress=progress, stop=stop)
    assert (again.status, again.frames) == ("stopped", max(frames, 3))
    assert encode(SETTINGS, tmp_path, resume=True).status == "complete"
    assert shard_bytes(tmp_path) == shard_bytes(quiet)
    nothing = encode(SETTINGS, tmp_path, resume=True)
    assert (nothing.status, nothing.frames, nothing.encoded) == ("complete", FRAMES, 0)


def test_an_interrupt_in_the_middle_keeps_what_was_encoded(quiet: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.frame == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(SETTINGS, tmp_path, progress=interrupt)
    with open_tokens(tmp_path) as store:
        assert (len(store), store.meta.status) == (11, "stopped")
    encode(SETTINGS, tmp_path, resume=True)
    assert shard_bytes(tmp_path) == shard_bytes(quiet)


class Wrapped:
    """A source whose frames and facts a test has changed."""

    def __init__(self, source: Source, frames: Iterator[Frame], **facts: Any) -> None:
        self.info = replace(source.info, **facts)
        self._source, self._frames = source, frames
        self.size, self.frames, self.rate = source.size, source.frames, source.rate

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        return next(self._frames)

    def describe(self) -> dict[str, Any]:
        return self._source.describe()

    def __enter__(self) -> Wrapped:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()


def wrap(monkeypatch: pytest.MonkeyPatch, frames: Callable[[Source], Iterator[Frame]], **facts: Any) -> None:
    """Make every opened source go through `frames`."""
    real = EncodeSettings.open_source

    def opened(self: EncodeSettings) -> Wrapped:
        source = real(self)
        return Wrapped(source, frames(source), **facts)

    monkeypatch.setattr(EncodeSettings, "open_source", opened)


def test_a_source_that_breaks_keeps_every_frame_before(
    quiet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(source: Source) -> Iterator[Frame]:
        for i, frame in enumerate(source):
            if i == 13:
                raise SourceError("the cable was pulled")
            yield frame

    with monkeypatch.context() as patch:
        wrap(patch, breaking)
        with pytest.raises(SourceError, match=f"the cable was pulled; the 13 frames before it are in {tmp_path}"):
            encode(SETTINGS, tmp_path / "out", preview=tmp_path / "p.mp4")
    with open_tokens(tmp_path / "out") as store:
        assert (len(store), store.meta.status) == (13, "stopped")
    with av.open(str(tmp_path / "p.mp4")) as container:
        assert len(list(container.decode(video=0))) == 13
    encode(SETTINGS, tmp_path / "out", resume=True)
    assert shard_bytes(tmp_path / "out") == shard_bytes(quiet)


def test_an_input_that_got_shorter_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(SETTINGS, tmp_path, stop=after_calls(17))
    wrap(monkeypatch, lambda source: (frame for i, frame in enumerate(source) if i < 5))
    with pytest.raises(StoreError, match=r"gave 5 frames, but .* holds 16 of it"):
        encode(SETTINGS, tmp_path, resume=True)
    with open_tokens(tmp_path) as store:
        assert len(store) == 17


def test_a_live_source_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, iter, kind="live")
    assert encode(SETTINGS, tmp_path, stop=after_calls(3)).frames == 3
    with pytest.raises(StoreError, match="is live and cannot be resumed"):
        encode(SETTINGS, tmp_path, resume=True)
    with open_tokens(tmp_path) as store:
        assert len(store) == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"threshold": 0.5}, r"threshold is 0\.5 but was 0\.03"),
        ({"tokens": 27}, "tokens is 27 but was 24"),
        ({"moving": False}, "moving is false but was true"),
        ({"store": "changes"}, 'store is "changes" but was "full"'),
        ({"shard_frames": 4}, "shard_frames is 4 but was 8"),
        ({"input": "scene:176x96"}, 'input is "scene:176x96" but was "scene:160x96"'),
    ],
)
def test_a_resume_with_other_settings_is_refused(quiet: Path, changes: dict[str, Any], named: str) -> None:
    before = shard_bytes(quiet)
    with pytest.raises(StoreError, match=named):
        encode(with_(**changes), quiet, resume=True)
    assert shard_bytes(quiet) == before


def test_an_input_file_that_was_replaced_is_not_resumed(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    write_png(image, np.zeros((96, 160, 3), np.uint8))
    settings = with_(input=str(image), frames=None)
    encode(settings, tmp_path / "out")
    write_png(image, np.full((96, 160, 3), 9, np.uint8))
    with pytest.raises(StoreError, match="input_file is"):
        encode(settings, tmp_path / "out", resume=True)


def test_a_folder_with_tokens_is_not_overwritten(quiet: Path) -> None:
    with pytest.raises(StoreError, match=r"already holds tokens \(22 frames, complete\)"):
        encode(SETTINGS, quiet)
