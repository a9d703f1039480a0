"""`texvlm view --web`: an address to open, an end when asked, and one line where it cannot be served."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

import texvlm
from texvlm.viewer.web.messages import read_packet

ROOT = Path(texvlm.__file__).parent.parent
SCENE = ("view", "scene:160x90", "--web", "--port", "0", "--backend", "cpu", "--tokens", "40")


def test_it_ends_after_so_many_frames_and_reports(call):
    outcome = call(*SCENE, "--frames", "3", "--trace", "a.json", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["frames"] >= 3
    assert outcome.json["backend"] == "cpu"
    assert {path.rsplit("/", 1)[-1] for path in outcome.json["written"]} == {"a.json"}
    assert re.fullmatch(r"open http://127\.0\.0\.1:\d+/ in a browser; Ctrl-C ends it\n", outcome.err)


def test_what_it_prints_can_be_opened_and_ctrl_c_ends_it(tmp_path):
    command = [sys.executable, "-m", "texvlm", *SCENE, "--host", "0.0.0.0", "--mode", "frame", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        url = process.stderr.readline().split()[1]
        _, port, token = re.fullmatch(r"http://([^:/]+):(\d+)/\?token=(\S+)", url).groups()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/?token={token}", timeout=20) as page:
            assert b"texvlm view" in page.read()
        with connect(f"ws://127.0.0.1:{port}/socket?token={token}") as client:
            header, _ = read_packet(client.recv(20))
            while "state" not in header:
                client.send(json.dumps({"ack": header["packet"]}))
                header, _ = read_packet(client.recv(20))
            assert header["state"]["first_mode"] == "frame"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err == "texvlm: closing\n"
    assert json.loads(out)["tokens"] == 40


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--record", "a.mp4"), "--record is for a window, and --web opens none"),
        (("--offscreen",), "--offscreen is for a window"),
        (("--cert", "a.pem"), "certificate and key belong together"),
        (("--cert", "no.pem", "--key", "no.pem"), "certificate or key cannot be read: [Errno 2]"),
        (("--host", "nowhere.invalid"), "cannot listen on nowhere.invalid, port 0"),
    ],
)
def test_what_cannot_be_served_is_one_line(call, flags, words):
    complaint = call(*SCENE, *flags).complaint
    assert words in complaint


def test_a_port_that_is_taken_is_one_line(call):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        complaint = call(*SCENE, "--port", str(taken.getsockname()[1])).complaint
    assert "Address already in use; give another --port (0 for any) or --host" in complaint


@pytest.mark.parametrize("library", ["fastapi", "uvicorn", "websockets"])
def test_a_missing_extra_is_one_line(call, monkeypatch, library):
    monkeypatch.delitem(sys.modules, "texvlm.viewer.web.server", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    complaint = call(*SCENE).complaint
    assert f'{library} is not installed; pip install "texvlm[web]"' in complaint
