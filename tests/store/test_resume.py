"""Death in every form: what was written stays, and going on gives the bytes of one quiet run."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from token_batches import assert_same, make_clip

from texvlm.errors import ClosedError, StoreError
from texvlm.store import TokenWriter, open_tokens
from texvlm.store.meta import StoreMode

FRAMES = 11
CLIP = make_clip(FRAMES)
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def run(folder: Path, *, until: int = FRAMES, resume: bool = False, status: str = "complete", **options: object) -> int:
    """Append frames up to `until`; returns the frame that this run began with."""
    writer = TokenWriter(folder, shard_frames=4, resume=resume, **options)  # type: ignore[arg-type]
    first = writer.next_frame
    for batch in CLIP[first:until]:
        writer.append(batch)
    writer.finish(status)  # type: ignore[arg-type]
    return first


def shard_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("tokens-*"))}


@pytest.fixture(params=["full", "changes"])
def mode(request: pytest.FixtureRequest) -> StoreMode:
    return request.param


@pytest.fixture
def quiet(tmp_path: Path, mode: StoreMode) -> dict[str, bytes]:
    run(tmp_path / "quiet", store=mode)
    return shard_bytes(tmp_path / "quiet")


@pytest.mark.parametrize("until", [0, 3, 4, 6, 8])
def test_a_stopped_run_keeps_its_frames_and_resumes_to_the_same_bytes(
    tmp_path: Path, mode: StoreMode, quiet: dict[str, bytes], until: int
) -> None:
    folder = tmp_path / "out"
    run(folder, until=until, status="stopped", store=mode)
    with open_tokens(folder) as store:
        assert store.meta.status == "stopped"
        assert [shard.cut for shard in store.meta.shards] == [False] * (until // 4) + [True] * (until % 4 > 0)
        assert len(store) == until
        for found, expected in zip(store, CLIP, strict=False):
            assert_same(found, expected)
    assert run(folder, resume=True, store=mode) == until // 4 * 4
    assert shard_bytes(folder) == quiet
    with open_tokens(folder) as store:
        assert (len(store), store.meta.status) == (FRAMES, "complete")


def test_a_resume_that_gets_less_far_loses_nothing(tmp_path: Path, mode: StoreMode, quiet: dict[str, bytes]) -> None:
    folder = tmp_path / "out"
    run(folder, until=7, status="stopped", store=mode)
    run(folder, until=5, status="stopped", resume=True, store=mode)
    with open_tokens(folder) as store:
        assert (len(store), store.meta.status) == (7, "stopped")
        assert_same(store[6], CLIP[6])
    TokenWriter(folder, shard_frames=4, store=mode, resume=True).close()  # as if killed before its first shard
    with open_tokens(folder) as store:
        assert (len(store), store.meta.status) == (7, "running")
        assert_same(store[6], CLIP[6])
    run(folder, resume=True, store=mode)
    assert shard_bytes(folder) == quiet


def test_an_exception_stops_the_run_and_keeps_what_was_appended(tmp_path: Path) -> None:
    writer = TokenWriter(tmp_path, shard_frames=4)

    def interrupted() -> None:
        with writer:
            for batch in CLIP[:6]:
                writer.append(batch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with open_tokens(tmp_path) as store:
        assert (len(store), store.meta.status) == (6, "stopped")
    with pytest.raises(ClosedError, match="is closed"):
        writer.append(CLIP[6])


KILLED = """
import os, signal, sys
from token_batches import make_clip
from texvlm import files
from texvlm.store import TokenWriter

renames = int(sys.argv[3])
def replace(self, target, real=files.Path.replace):
    global renames
    renames -= 1
    if renames < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
files.Path.replace = replace

writer = TokenWriter(sys.argv[1], shard_frames=4, store=sys.argv[2])
for batch in make_clip(11):
    writer.append(batch)
"""


@pytest.mark.parametrize(("mode", "renames"), [("full", 0), ("changes", 1), ("changes", 2), ("full", 3)])
def test_kill_9_before_any_rename_then_resume_gives_the_same_bytes(
    tmp_path: Path, mode: StoreMode, renames: int
) -> None:
    # Renames in order: meta.json, shard 0, meta.json, shard 1, ...: dying before each covers every gap.
    folder = tmp_path / "out"
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), mode, str(renames)], env=ENVIRONMENT, check=False, timeout=60
    )
    assert process.returncode == -signal.SIGKILL
    assert list(folder.glob("*.tmp"))
    if renames > 0:
        with open_tokens(folder) as store:  # readable as it lies there
            assert (len(store), store.meta.status) == ((renames - 1) // 2 * 4, "running")
            store.verify()
    assert run(folder, resume=True, store=mode) == max(renames - 1, 0) // 2 * 4
    run(tmp_path / "quiet", store=mode)
    assert shard_bytes(folder) == shard_bytes(tmp_path / "quiet")
    assert not list(folder.glob("*.tmp"))


def test_a_missing_shard_is_written_again(tmp_path: Path, mode: StoreMode, quiet: dict[str, bytes]) -> None:
    folder = tmp_path / "out"
    run(folder, store=mode)
    (folder / "tokens-00001.safetensors").unlink()
    assert run(folder, resume=True, store=mode) == 4
    assert shard_bytes(folder) == quiet


def test_a_shard_of_the_wrong_size_is_written_again(tmp_path: Path, mode: StoreMode, quiet: dict[str, bytes]) -> None:
    folder = tmp_path / "out"
    run(folder, store=mode)
    (folder / "tokens-00000.safetensors").write_bytes(b"short")
    assert run(folder, resume=True, store=mode) == 0
    assert shard_bytes(folder) == quiet


def test_a_resume_of_nothing_begins_and_of_a_complete_folder_has_nothing_to_do(tmp_path: Path) -> None:
    assert run(tmp_path, resume=True) == 0
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with TokenWriter(tmp_path, shard_frames=4, resume=True) as writer:
        assert writer.complete
        assert writer.next_frame == FRAMES
        with pytest.raises(StoreError, match="complete with 11 frames"):
            writer.append(CLIP[0])
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_settings_are_refused_with_both_values(tmp_path: Path) -> None:
    run(tmp_path, until=4, status="stopped", settings={"threshold": 0.1, "layout": "uniform", "mean": [0.5, 0.5]})
    with pytest.raises(StoreError, match=r'layout is "rings" but was "uniform"; threshold is 0\.2 but was 0\.1;'):
        TokenWriter(
            tmp_path, shard_frames=4, resume=True, settings={"threshold": 0.2, "layout": "rings", "mean": [0.5, 0.5]}
        )
    with pytest.raises(StoreError, match='shard_frames is 5 but was 4; store is "changes" but was "full"'):
        TokenWriter(
            tmp_path,
            shard_frames=5,
            store="changes",
            resume=True,
            settings={"threshold": 0.1, "layout": "uniform", "mean": [0.5, 0.5]},
        )
    with open_tokens(tmp_path) as store:
        assert (len(store), store.meta.status) == (4, "stopped")


def test_a_folder_with_tokens_is_never_overwritten(tmp_path: Path) -> None:
    run(tmp_path)
    before = shard_bytes(tmp_path)
    with pytest.raises(
        StoreError, match=r"already holds tokens \(11 frames, complete\); use another folder, or resume"
    ):
        TokenWriter(tmp_path)
    (tmp_path / "meta.json").write_text("broken")
    with pytest.raises(StoreError, match="already holds tokens \\(not readable\\)"):
        TokenWriter(tmp_path)
    with pytest.raises(StoreError, match="not JSON"):
        TokenWriter(tmp_path, resume=True)
    assert shard_bytes(tmp_path) == before


def test_two_writers_never_share_a_folder(tmp_path: Path) -> None:
    with TokenWriter(tmp_path), pytest.raises(StoreError, match="being written by another process"):
        TokenWriter(tmp_path, resume=True)
    with TokenWriter(tmp_path, resume=True) as writer:
        assert writer.complete


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot write to folder .*file/out: Not a directory"):
        TokenWriter(tmp_path / "file" / "out")
    with pytest.raises(StoreError, match=r"cannot write to folder .*file: it is a file"):
        TokenWriter(tmp_path / "file")


def test_a_read_only_folder_is_one_clear_error() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: its parents are closed to others
        Path(folder).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # root writes into any folder; nobody does not
        try:
            with pytest.raises(StoreError, match=r"cannot write .*meta\.json: Permission denied; no frame was written"):
                TokenWriter(folder)
        finally:
            if root:
                os.seteuid(0)
            Path(folder).chmod(0o700)


def test_a_folder_that_vanishes_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    writer = TokenWriter(folder, shard_frames=1)
    (folder / "meta.json").unlink()
    folder.rmdir()
    with pytest.raises(StoreError, match=r"tokens-00000\.safetensors: No such file or directory; no frame was written"):
        writer.append(CLIP[0])
    writer.close()


def test_a_file_size_limit_is_reported_and_earlier_shards_stay_whole(tmp_path: Path) -> None:
    # RLIMIT_FSIZE makes the kernel refuse a real write, wherever the test runs.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    quiet = tmp_path / "quiet"
    run(quiet)
    try:
        with TokenWriter(tmp_path / "out", shard_frames=4) as writer:
            for batch in CLIP[:8]:
                writer.append(batch)
            writer.append(CLIP[8])
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            with pytest.raises(StoreError, match=r"tokens-00002\..*frames 0\.\.7 are safe in 2 shards; make room"):
                writer.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((tmp_path / "out").glob("*.tmp"))
    with open_tokens(tmp_path / "out") as store:
        assert len(store) == 8
        store.verify()
    run(tmp_path / "out", resume=True)
    assert shard_bytes(tmp_path / "out") == shard_bytes(quiet)


FULL_DISK = """
import sys
from pathlib import Path
from token_batches import make_clip
from texvlm.errors import StoreError
from texvlm.store import TokenWriter, open_tokens

CLIP = make_clip(11)
folder = Path(sys.argv[1]) / "out"
filler = Path(sys.argv[1]) / "filler"
try:
    with TokenWriter(folder, shard_frames=4) as writer:
        for i, batch in enumerate(CLIP):
            if i == 8:
                with filler.open("wb") as file:
                    try:
                        while True:
                            file.write(bytes(512))
                            file.flush()
                    except OSError:
                        pass
            writer.append(batch)
except StoreError as error:
    print(error)
with open_tokens(folder) as store:
    store.verify()
    print(len(store), store.meta.status)
filler.unlink()
with TokenWriter(folder, shard_frames=4, resume=True) as writer:
    for batch in CLIP[writer.next_frame :]:
        writer.append(batch)
with open_tokens(folder) as store:
    store.verify()
    print(len(store), store.meta.status)
"""


def can_mount() -> bool:
    """Whether a process may have a file system of its own here."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="a private file system needs mount rights in a namespace")
def test_a_full_disk_is_reported_and_the_run_resumes_when_there_is_room(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            'mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "$3" "$1"',
            "sh",
            str(tmp_path),
            sys.executable,
            FULL_DISK,
        ],
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    error, after, resumed = done.stdout.splitlines()
    assert "No space left on device; frames 0..7 are safe in 2 shards" in error
    assert after == "8 running"
    assert resumed == "11 complete"


def test_a_run_that_died_before_its_first_shard_is_in_nobodys_way(tmp_path: Path) -> None:
    TokenWriter(tmp_path, shard_frames=4, settings={"tokens": 7}).close()
    assert run(tmp_path, settings={"tokens": 8}) == 0
    with open_tokens(tmp_path) as store:
        assert (len(store), store.meta.settings) == (FRAMES, {"tokens": 8})
