"""One call of the program, in this process: what it printed and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sources.clips import write_clip

from texvlm.cli import run


@dataclass(frozen=True)
class Outcome:
    """Exit code and the two outputs of a call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as JSON; fails where anything else was printed there."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr that a refused call prints."""
        lines = self.err.strip().splitlines()
        assert self.code == 2, self
        assert len(lines) == 1, self.err
        assert lines[0].startswith("texvlm: ")
        assert not self.out
        return lines[0]


Call = Callable[..., Outcome]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the program with arguments, in a working folder that is empty at first."""
    monkeypatch.chdir(tmp_path)

    def act(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return act


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 12 frames, 160 x 96."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=12)
