"""`texvlm encode` and input that it cannot serve: one line, exit code 2, nothing lost, nothing left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from sources.clips import write_audio

import texvlm

SMALL = ("--tokens", "16", "--backend", "cpu")
SCENE = ("encode", "scene:96x64", *SMALL, "--frames", "12")


def nothing_was_made(folder: str = "t") -> bool:
    return not list(Path(folder).glob("*")) if Path(folder).is_dir() else not Path(folder).exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.mp4", None, "gone.mp4: no such file"),
        ("text.mp4", b"this is no video\n" * 40, "text.mp4: not a video"),
        ("empty.mp4", b"", "empty.mp4: the file is empty (0 bytes)"),
        ("text.png", b"no picture", "text.png: not an image"),
    ],
)
def test_inputs_that_are_no_video(call, name, content, words):
    if content is not None:
        Path(name).write_bytes(content)
    complaint = call("encode", name, "--out", "t", *SMALL).complaint
    assert words in complaint
    assert "accepted: " in complaint
    assert nothing_was_made()


def test_a_clip_cut_off_before_its_index(call, clip):
    Path("cut.mp4").write_bytes(clip.read_bytes()[:2000])
    assert "cut off before its index" in call("encode", "cut.mp4", "--out", "t", *SMALL).complaint
    assert nothing_was_made()


def test_a_clip_with_sound_only(call, tmp_path):
    write_audio(tmp_path / "sound.mp4")
    assert "no video stream" in call("encode", "sound.mp4", "--out", "t", *SMALL).complaint
    assert nothing_was_made()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--fixation nan,0.5", "fixation is 'nan,0.5'"),
        ("--fixation 0.5", "accepted: u,v"),
        ("--fixation left", "accepted: u,v"),
        ("--fixation 0.5,0.5 --gaze g.csv", "two ways to look"),
        ("--moving --gaze g.csv", "two ways to look"),
        ("--tokens 0", "tokens is 0"),
        ("--tokens 100000", "the greatest count is 1200"),
        ("--layout rings-268 --tokens 5", "268 tokens, not 5"),
        ("--layout spiral", "unknown layout 'spiral'; accepted: quadtree"),
        ("--layout-options size", "accepted: NAME=VALUE"),
        ("--layout-options size=3", "no option 'size'"),
        ("--threshold 2", "threshold is '2'; accepted: 0 to 1"),
        ("--threshold 8/0", "threshold is '8/0'"),
        ("--threshold -0.1", "threshold is '-0.1'"),
        ("--threshold nan", "threshold is 'nan'"),
        ("--every 0", "every"),
        ("--frames 0", "frames"),
        ("--channels 2", "channels"),
        ("--dtype int8", "'uint8', 'float16', 'bfloat16' or 'float32' (got 'int8')"),
        ("--store half", "'full' or 'changes' (got 'half')"),
        ("--shard-frames 0", "shard_frames"),
        ("--patch 0", "patch is 0"),
        ("--fov-deg 180", "fov_deg is 180"),
        ("--e2-deg nan", "e2_deg is nan"),
        ("--mean 0.5,0.5,0.5 --dtype float32", "mean and std go together"),
        ("--mean a,b --std 1,1", "mean is 'a,b'"),
        ("--mean 0.5,0.5 --std 1,1 --dtype float32", "2 values for 3 channels"),
        ("--mean 0.5,0.5,0.5 --std 1,1,1", "uint8 tokens cannot be normalised"),
        ("--backend vulkan", "accepted: 'auto', 'cuda', 'gl', 'cpu'"),
        ("--backend cuda", "cuda: "),
        ("--layout-options max_side=wide", "max_side is 'wide'; it is a finite number of texels"),
        ("--layout-options tokens=5", "layout option 'tokens' is a setting of its own"),
        ("--layout crops --tokens 100 --layout-options fixations=0", "fixations is 0"),
        ("--fixation=", "fixation is ''; accepted: u,v"),
        ("--fixation 0.1,0.1 --moving", "--moving and --fixation are two ways to look"),
        ("--patch 1000000 --tokens 1", "no room for tokens of shape (1, 3, 1000000, 1000000)"),
        ("--gaze gone.csv", "gone.csv: No such file"),
        ("--preview no/such/p.mp4", "cannot write preview no/such/p.mp4"),
    ],
)
def test_values_that_are_not_accepted(call, flags, words):
    complaint = call("encode", "scene:640x480", "--out", "t", "--frames", "2", *flags.split()).complaint
    assert words in complaint


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("time,u,v\n0,0.1,0.1\n0.5,0.2,0.2\n0.4,0.3,0.3\n", "line 4: time 0.400000 s comes after 0.500000 s"),
        ("time,u,v\n0,nan,0.1\n", "line 2: u is nan"),
        ("time,u,v\n", "no sample after the header"),
        ("when,where\n1,2\n", "no column time"),
        ("", "the file is empty"),
    ],
)
def test_gaze_files_that_are_not_accepted(call, rows, words):
    Path("gaze.csv").write_text(rows)
    complaint = call("encode", "scene:96x64", "--out", "t", *SMALL, "--gaze", "gaze.csv").complaint
    assert words in complaint
    assert "gaze.csv" in complaint
    assert nothing_was_made()


def test_an_output_folder_that_is_a_file(call):
    Path("t").write_text("mine")
    assert "cannot write to folder t: it is a file" in call(*SCENE, "--out", "t").complaint
    assert Path("t").read_text() == "mine"


def test_a_disk_that_fills_up_keeps_what_was_written(call, monkeypatch):
    from texvlm.store import writer

    write, written = writer.write_whole, []

    def fill(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_whole", fill)
        complaint = call(*SCENE, "--out", "t", "--shard-frames", "4").complaint
    assert "No space left on device; frames 0..7 are safe in 2 shards; make room or access, then resume" in complaint
    with texvlm.open_tokens("t") as tokens:
        assert len(tokens) == 8
    assert call(*SCENE, "--out", "t", "--shard-frames", "4", "--resume", "--json").json["first_frame"] == 8


def test_a_folder_that_nobody_may_write(call, tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    if os.access(shut, os.W_OK):  # root may write anywhere but where the kernel itself refuses
        shut = Path("/proc/self")
    assert f"cannot write to folder {shut / 't'}" in call(*SCENE, "--out", shut / "t").complaint
