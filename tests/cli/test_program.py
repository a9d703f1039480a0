"""The program around its commands: help, version, exit codes, what goes where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import texvlm
from texvlm import cli
from texvlm.cli.outcome import exit_code_of
from texvlm.errors import StoreError

COMMANDS = ("encode", "demo", "layouts", "doctor", "bench", "config")
ROOT = Path(texvlm.__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def program(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "texvlm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, **options)


def test_help_names_every_command(call):
    for arguments in ((), ("--help",), ("-h",)):
        outcome = call(*arguments)
        assert outcome.code == 0
        assert not outcome.err
        assert all(command in outcome.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call, command):
    outcome = call(command, "--help")
    assert outcome.code == 0
    assert f"texvlm {command}" in outcome.out


def test_version(call):
    assert call("--version").out == f"texvlm {texvlm.__version__}\n"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from texvlm.cli import run; run(['--help']); run(['encode', '--help']); print('\\n', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "numba", "numpy", "av", "cv2", "safetensors"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("encod",), "No such command 'encod'"),
        (("--nonsense",), "No such option: --nonsense"),
        (("encode",), "Missing argument 'INPUT'"),
        (("encode", "scene"), "Missing option '--out'"),
        (("encode", "scene", "--out", "d", "--tokens", "many"), "--tokens"),
        (("bench", "--tokens", "1"), "--tokens"),
        (("config", "show", "nothing"), "accepted: encode, classify, similar"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(call, arguments, words):
    assert words in call(*arguments).complaint


def raising(error):
    def act():
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("threshold is 3;\naccepted: 0 to 1"), 2, "texvlm: threshold is 3; accepted: 0 to 1\n"),
        (TypeError("frame of int64"), 2, "texvlm: frame of int64\n"),
        (StoreError("[bold]no markup[/bold]"), 2, "texvlm: [bold]no markup[/bold]\n"),
        (FileNotFoundError(2, "No such file or directory", "gone.toml"), 2, "gone.toml: No such file or directory"),
        (PermissionError(13, "Permission denied", "shut"), 2, "texvlm: shut: Permission denied\n"),
        (MemoryError(), 2, "texvlm: out of memory\n"),
        (KeyboardInterrupt(), 130, "texvlm: stopped\n"),
    ],
)
def test_what_a_failure_looks_like(capsys, error, code, words):
    assert exit_code_of(raising(error)) == code
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("a bug"), OSError("no file is named")])
def test_bugs_are_not_dressed_up_as_bad_input(error):
    with pytest.raises(type(error)):
        exit_code_of(raising(error))


def test_a_settings_error_names_the_field_and_the_value(call):
    complaint = call("encode", "scene", "--out", "d", "--every", "0").complaint
    assert complaint == "texvlm: every: Input should be greater than or equal to 1 (got 0)"


def test_traceback_flag_shows_where_bad_input_was_found(call):
    with pytest.raises(ValueError, match="threshold is 'x'"):
        call("--traceback", "encode", "scene", "--out", "d", "--threshold", "x")


def test_verbose_logs_on_stderr_and_is_gone_afterwards(call):
    arguments = ("encode", "scene:64x64", "--out", "a", "--tokens", "16", "--frames", "2", "--json")
    outcome = call("--verbose", *arguments)
    assert "texvlm: info: backend" in outcome.err
    assert outcome.json["frames"] == 2
    assert "info" not in call(*arguments, "--resume").err


def test_python_m_texvlm_and_a_reader_that_leaves():
    done = program("layouts", "--json", "--size", "320x240")
    assert done.returncode == 0
    pipe = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from texvlm.cli import console, main\nsys.argv = ['texvlm', 'layouts', '--json']; main()",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert pipe.stdout is not None
    assert pipe.stderr is not None
    pipe.stdout.close()
    assert pipe.stderr.read() == b""
    assert pipe.wait(60) == 141
    pipe.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_behind_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "texvlm", "config", "show"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)
    assert done.returncode == 2
    assert done.stderr.decode() == "texvlm: cannot write to stdout: No space left on device\n"


def test_the_entry_point_exits_with_the_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["texvlm", "--nonsense"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
