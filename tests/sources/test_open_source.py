"""One function opens everything, and refuses what does not fit together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import picture, write_clip
from PIL import Image

from texvlm.errors import SourceError
from texvlm.sources import ACCEPTED, Source, open_source


@pytest.fixture
def inputs(tmp_path) -> dict[str, str | Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(picture(index)).save(folder / f"{index}.png")
    return {
        "video": write_clip(tmp_path / "a.mp4", frames=3),
        "image": folder / "0.png",
        "images": folder,
        "scene": "scene:static:64x48",
        "url": f"file://{tmp_path}/a.mp4",
    }


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [("video", "video", 3), ("image", "images", 1), ("images", "images", 3), ("url", "video", 3)],
)
def test_every_kind_of_input_has_the_same_face(inputs, name, kind, count):
    source: Source = open_source(inputs[name])
    with source:
        assert iter(source) is source
        assert source.info.kind == kind
        assert source.describe()["size"] == list(source.size)
        assert source.describe()["frames"] == source.frames == count
        frames = list(source)
        assert next(source, None) is None
    assert len(frames) == count
    assert all(f.pixels.dtype == np.uint8 and f.size == source.size for f in frames)


def test_a_path_may_be_text_or_a_path(inputs):
    for spec in (inputs["video"], str(inputs["video"])):
        with open_source(spec) as source:
            assert source.info.name == str(inputs["video"])


def test_an_existing_file_named_scene_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.mp4", frames=2).rename(tmp_path / "scene")
    with open_source("scene") as source:
        assert source.info.kind == "video"


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("video", {"rate": 3.0}, "option rate does not go with a video file"),
        ("video", {"frames": 3}, "option frames does not go with a video file"),
        ("video", {"live": True}, "option live does not go with a video file"),
        ("image", {"stream": 1}, "option stream does not go with an image"),
        ("images", {"seed": 1}, "option seed does not go with a folder of images"),
        ("scene", {"stream": 1}, "option stream does not go with a scene"),
        ("images", {"rate": 0.0}, "rate is 0.0"),
        ("video", {"channels": 2}, "channels is 2"),
        ("video", {"every": 0}, "every is 0"),
        ("video", {"every": 1.5}, "every is 1.5"),
        ("video", {"read_timeout": 0}, "read_timeout is 0"),
        ("video", {"open_timeout": float("nan")}, "open_timeout is nan"),
    ],
)
def test_options_that_do_not_fit_are_refused(inputs, name, options, reason):
    with pytest.raises(ValueError, match=reason):
        open_source(inputs[name], **options)


def test_a_camera_is_always_live():
    with pytest.raises(ValueError, match="a camera is always live"):
        open_source("camera:0", live=False)


def test_unknown_inputs_name_what_is_accepted(tmp_path):
    for spec in ("", "gopher://host/a.mp4", tmp_path / "missing"):
        with pytest.raises(SourceError) as caught:
            open_source(spec)
        assert ACCEPTED in str(caught.value)


def test_importing_the_package_does_not_load_ffmpeg():
    code = "import sys, texvlm; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
