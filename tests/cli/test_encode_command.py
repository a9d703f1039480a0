"""`texvlm encode`: reports, resume and stopping."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from model_folders import save_vit
from sources.clips import write_clip

import texvlm
import texvlm.encode
from texvlm.cli.stopping import StopRequest

ROOT = Path(texvlm.__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
SMALL = ("--tokens", "16", "--backend", "cpu")
SCENE = ("encode", "scene:96x64", *SMALL, "--frames", "12")


def shards(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("tokens-*"))}


# ---------------------------------------------------------------- what it writes and says


def test_a_clip_becomes_tokens_and_a_report(call, clip):
    outcome = call("encode", clip, "--out", "t", *SMALL, "--preview", "p.mp4", "--still", "s.png")
    assert outcome.code == 0
    for words in (
        "12; complete",
        "160 x 96",
        "16 a frame",
        "frames a second",
        "1 shards",
        "p.mp4",
        "s.png",
        "backend cpu",
    ):
        assert words in outcome.out
    with texvlm.open_tokens("t") as tokens:
        assert len(tokens) == 12
        assert tokens[0].pixels.shape == (1, 16, 3, 16, 16)
    with av.open("p.mp4") as preview:
        assert sum(1 for _ in preview.decode(video=0)) == 12


def test_the_report_as_json(call, clip):
    report = call("encode", clip, "--out", "t", *SMALL, "--every", "3", "--threshold", "0", "--json").json
    assert (report["status"], report["frames"], report["size"]) == ("complete", 4, [160, 96])
    assert report["resume"] is None
    assert report["bytes_written"] == sum(len(data) for data in shards("t").values())


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), ("0.03", 0.03), ("0", 0.0), ("1", 1.0)])
def test_spellings_of_the_threshold(call, text, value):
    report = call(*SCENE, "--out", "t", "--threshold", text, "--frames", "1", "--json").json
    assert report["engine"]["threshold"] == pytest.approx(value)


def test_every_flag_reaches_the_job(call):
    flags = "--dtype float16 --store changes --shard-frames 5 --mean 0.5,0.4,0.3 --std 0.2,0.2,0.2 --patch 8 --moving"
    outcome = call(*SCENE, "--out", "t", *flags.split(), "--layout-options", "max_side=32", "--fov-deg", "70", "--json")
    assert outcome.code == 0, outcome.err
    with texvlm.open_tokens("t") as tokens:
        settings = tokens.meta.settings
        assert [shard.frames for shard in tokens.meta.shards] == [5, 5, 2]
    expected = {"dtype": "float16", "store": "changes", "mean": [0.5, 0.4, 0.3], "patch": 8, "moving": True}
    expected |= {"layout_options": {"max_side": 32}, "fov_deg": 70.0, "tokens": 16, "frames": 12}
    assert {name: settings[name] for name in expected} == expected


def test_several_fixations_share_the_tokens_or_get_rings_each(call):
    one = call("encode", "scene:640x480", "--out", "a", "--frames", "1", "--fixation", "0.2,0.2,0.8,0.8", "--json").json
    assert one["tokens_per_frame"] == 268
    layout = ("--layout", "rings-20-288", "--fixation", "0.2,0.2;0.8,0.8")
    assert (
        call("encode", "scene:640x480", "--out", "b", "--frames", "1", *layout, "--json").json["tokens_per_frame"] == 40
    )


def test_gaze_with_gaps_is_followed_and_told(call, clip):
    Path("gaze.csv").write_text("time,u,v\n0,0.1,0.1\n0.05,0.2,0.2\n0.3,0.9,0.9\n")
    outcome = call("encode", clip, "--out", "t", *SMALL, "--gaze", "gaze.csv")
    assert outcome.code == 0
    assert "1 gaps up to 0.25 s, in which the last point holds" in outcome.out


def test_a_flag_replaces_a_way_to_look_from_the_file(call):
    Path("texvlm.toml").write_text("[encode]\nfixation = [0.1, 0.9]\n")
    Path("gaze.csv").write_text("time,u,v\n0,0.3,0.3\n")
    assert call(*SCENE, "--out", "t", "--gaze", "gaze.csv").code == 0
    with texvlm.open_tokens("t") as tokens:
        assert tokens.meta.settings["gaze"] == "gaze.csv"


def test_a_truncated_clip_gives_what_it_holds_and_is_said_to_be_short(call, tmp_path):
    options = {"movflags": "faststart"}
    whole = write_clip(tmp_path / "whole.mp4", frames=60, container_options=options).read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    outcome = call("encode", "cut.mp4", "--out", "t", *SMALL)
    assert outcome.code == 0
    assert "cut short" in outcome.out
    with texvlm.open_tokens("t") as tokens:
        assert 5 < len(tokens) < 60


def test_a_frame_size_that_changes_is_said(call):
    from texvlm.drawing.pictures import write_png

    Path("folder").mkdir()
    for index, side in enumerate((96, 96, 160)):
        write_png(f"folder/{index}.png", np.full((side, side, 3), 40 * index, np.uint8))
    outcome = call("encode", "folder", "--out", "t", *SMALL)
    assert outcome.code == 0
    assert "100.0 %" in outcome.out
    assert "it changed 1 times, and textures were made anew 1 times" in outcome.out


# ---------------------------------------------------------------- resume and stop


def test_resume_does_what_is_left(call):
    assert call(*SCENE, "--out", "whole", "--shard-frames", "5").code == 0
    arguments = [*SCENE, "--out", "cut", "--shard-frames", "5"]
    assert call(*arguments).code == 0
    last = Path("cut/tokens-00002.safetensors")
    last.unlink()
    report = call(*arguments, "--resume", "--json").json
    assert (report["first_frame"], report["encoded"]) == (10, 2)
    assert shards("cut") == shards("whole")
    assert "nothing was left to encode" in call(*arguments, "--resume").out


def test_an_earlier_run_is_not_overwritten(call):
    assert call(*SCENE, "--out", "t").code == 0
    before = shards("t")
    assert "t already holds tokens (12 frames, complete)" in call(*SCENE, "--out", "t").complaint
    complaint = call(*SCENE, "--out", "t", "--resume", "--threshold", "0").complaint
    assert "cannot resume t with other settings: threshold is 0.0 but was 0.03" in complaint
    assert shards("t") == before


def started(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "texvlm", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=cwd
    )


def wait_for_shard(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list(folder.glob("tokens-*.safetensors"))) < 2:  # then meta.json lists the first
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_finishes_the_shard_and_says_how_to_go_on(tmp_path):
    endless = ("encode", "scene:96x64", "--out", "two words", *SMALL, "--frames", "100000", "--shard-frames", "10")
    with started(*endless, "--json", cwd=tmp_path) as process:
        wait_for_shard(tmp_path / "two words", process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    hint = "texvlm " + shlex.join([*endless, "--json", "--resume"])
    first, last = err.strip().splitlines()
    assert first == "texvlm: finishing the shard; Ctrl-C again stops at once"
    assert last.endswith(f"To go on: {hint}")
    report = json.loads(out)
    assert (report["status"], report["resume"]) == ("stopped", hint)
    with texvlm.open_tokens(tmp_path / "two words") as tokens:
        assert len(tokens) == report["frames"]
        tokens.verify()


def test_a_stopped_live_input_is_not_said_to_be_resumable(call, monkeypatch):
    report = texvlm.encode.EncodeReport.model_validate(call(*SCENE, "--out", "t", "--json").json)
    live = report.model_copy(update={"status": "stopped", "source": {"kind": "live"}})
    monkeypatch.setattr(texvlm.encode, "encode", lambda *_, **__: live)
    outcome = call(*SCENE, "--out", "u", "--json")
    assert outcome.json["resume"] is None
    assert outcome.err == "stopped after 12 frames.\n"


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    endless = ("encode", "scene:96x64", "--out", "t", *SMALL, "--frames", "100000", "--shard-frames", "10")
    with started(*endless, "--preview", "p.mp4", cwd=tmp_path) as process:
        wait_for_shard(tmp_path / "t", process)
        process.send_signal(signal.SIGSTOP)  # both arrive before the program can end by itself
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped at once; what was written is whole. To go on: texvlm encode" in err
    assert not out
    with texvlm.open_tokens(tmp_path / "t") as tokens:
        tokens.verify()
        assert len(tokens) >= 10


def test_stop_request_puts_the_handlers_back(capsys):
    before = signal.getsignal(signal.SIGINT)
    with StopRequest("wait") as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().err == "texvlm: wait\n"


def test_stop_request_does_nothing_on_another_thread():
    found = []

    def work() -> None:
        with StopRequest("wait") as stop:
            found.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_progress_appears_on_a_terminal_and_on_stderr(tmp_path):
    pty = pytest.importorskip("pty")  # not on Windows
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "texvlm", *SCENE, "--out", "t", "--json"]
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment, cwd=tmp_path
    ) as process:
        os.close(theirs)
        shown = b""
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    shown += os.read(ours, 65536)
                except OSError:  # EIO: the program has closed its end
                    break
        out = process.stdout.read() if process.stdout else ""
    os.close(ours)
    assert process.returncode == 0
    assert b"encoding" in shown
    assert b"12/12" in shown
    assert json.loads(out)["frames"] == 12


# ---------------------------------------------------------------- with a model


def test_a_model_makes_features_and_the_report_says_so(call, clip, tmp_path):
    model = save_vit(tmp_path / "small")
    outcome = call("encode", clip, "--out", "f", *SMALL, "--model", model, "--readout", "fixation:9")
    assert outcome.code == 0, outcome.err
    for words in ("12; complete", "small", "32 numbers a token, pooled, 1 read-outs", "model "):
        assert words in outcome.out
    with texvlm.open_features("f") as features:
        assert features[11].tokens.shape == (1, 16, 32)
        assert features[11].regions.shape == (1, 1, 32)
    both = (
        "--write",
        "both",
        "--dtype",
        "float16",
        "--batch",
        "5",
        "--feature-dtype",
        "float32",
        "--positions",
        "area",
    )
    report = call("encode", clip, "--out", "b", *SMALL, "--model", model, *both, "--json").json
    assert (report["contents"], report["model"]["positions"]) == ("both", "area")
    with texvlm.open_tokens("b") as tokens, texvlm.open_features("b") as features:
        assert tokens.meta.settings["batch"] == 5
        assert (tokens[0].pixels.dtype, features[0].tokens.dtype) == (torch.float16, torch.float32)
    assert "nothing was left" in call("encode", clip, "--out", "b", *SMALL, "--model", model, *both, "--resume").out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--write both", "--write both needs a model; give its folder as --model DIR"),
        ("--write pixels", "write is 'pixels'; accepted: tokens, features, both"),
        ("--readout fixation:4", "--readout asks a model"),
        ("--model small --write tokens", "--write tokens uses no model"),
        ("--model small --patch 8", "patch is 8, but small takes tokens of 16 x 16"),
        ("--model small --channels 4", "channels is 4, but small takes 3"),
        ("--model small --mean 0,0,0 --std 1,1,1", "mean and std are the model's own"),
        ("--model small --feature-dtype int8", "Input should be 'float16' or 'float32'"),
        ("--model gone", "gone: no such folder; texvlm downloads nothing"),
    ],
)
def test_model_flags_that_cannot_be_served(call, tmp_path, flags, words):
    save_vit(tmp_path / "small")
    assert words in call(*SCENE, "--out", "t", *flags.split()).complaint
    assert not Path("t").exists()
