"""Features in the encode job: what the model makes of the tokens, disturbed, resumed, refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encode_runs import FRAMES, SETTINGS, after_calls, shard_bytes
from encoders.vlms import qwen3_vl
from model_folders import save_vit

from texvlm import encoders, open_features, open_tokens
from texvlm.drawing.pictures import write_png
from texvlm.encode import EncodeSettings, FeatureSettings, encode
from texvlm.encoders.vit import ViTEncoder
from texvlm.errors import LookError, ModelError, SourceError, StoreError
from texvlm.frames import Frame
from texvlm.sources import Source

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small ViT, saved."""
    return str(save_vit(tmp_path_factory.mktemp("models") / "small"))


def job(model: str, *, batch: int = 3, features: dict[str, Any] | None = None, **changes: Any) -> EncodeSettings:
    """The small job of the other tests (22 frames in shards of 8), with a model behind it."""
    wanted = {"model": model, "batch": batch} | (features or {})
    plain = SETTINGS.model_dump() | {"dtype": None}
    return EncodeSettings(**(plain | {"features": FeatureSettings(**wanted)} | changes))


@pytest.fixture(scope="module")
def quiet(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    encode(job(model), folder)
    return folder


# ---------------------------------------------------------------- what is written


def test_features_are_those_of_the_stored_tokens(model: str, tmp_path: Path) -> None:
    report = encode(job(model, features={"keep_tokens": True, "dtype": "float32"}), tmp_path)
    assert (report.contents, report.status, report.frames) == ("both", "complete", FRAMES)
    assert report.ms_per_frame["model"] > 0
    encoder = encoders.load(model)
    with torch.inference_mode(), open_tokens(tmp_path) as tokens, open_features(tmp_path) as features:
        assert tokens[0].pixels.dtype == torch.uint8
        for batch, found in zip(tokens, features, strict=True):
            own = encoder(batch)
            torch.testing.assert_close(found.tokens, own.tokens, rtol=0, atol=1e-5)
            torch.testing.assert_close(found.pooled, own.pooled, rtol=0, atol=1e-5)
            assert found.rows.tobytes() == batch.table.tobytes()
            assert found.pts == batch.pts


def test_frames_keep_their_order_and_their_features_whatever_they_are_encoded_with(model: str, tmp_path: Path) -> None:
    found = []
    for batch in (1, 5, 64):
        encode(job(model, batch=batch, features={"dtype": "float32"}), tmp_path / str(batch))
        with open_features(tmp_path / str(batch)) as store:
            found.append(torch.cat([each.tokens for each in store]))
            assert len({each.pooled.numpy().tobytes() for each in store}) == FRAMES  # no two frames alike
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=1e-5)


def test_tokens_are_normalised_for_the_model_and_it_is_named(model: str, quiet: Path) -> None:
    with open_features(quiet) as store:
        meta = store.meta
    assert (meta.settings["mean"], meta.settings["dtype"], meta.settings["patch"]) == ([0.5] * 3, "float32", 16)
    assert meta.model is not None
    assert (meta.model["name"], meta.model["positions"], meta.model["readout_deg"]) == ("small", "bilinear", None)
    assert len(str(meta.model["config_sha256"])) == len(str(meta.model["weights_sha256"])) == 64
    assert meta.feature_shapes == {"features": (32,), "prefix": (1, 32), "pooled": (32,)}


def test_the_patch_is_the_models(tmp_path: Path) -> None:
    encode(job(str(save_vit(tmp_path / "m", patch=8)), frames=2), tmp_path / "out")
    with open_features(tmp_path / "out") as store:
        assert store.meta.patch == 8


def test_readouts_answer_for_the_fixations_also_outside_the_frame(model: str, tmp_path: Path) -> None:
    settings = {"readout_deg": 9.0, "keep_tokens": True, "dtype": "float32"}
    places = ((0.3, 0.4), (1.2, 0.5))
    encode(job(model, features=settings, moving=False, fixations=places, frames=3), tmp_path)
    encoder = encoders.load(model)
    near = encoders.Readout.near([[(0.3, 0.4), (1 - 0.5 / 160, 0.5)]], eccentricity_deg=9)
    with torch.inference_mode(), open_tokens(tmp_path) as tokens, open_features(tmp_path) as features:
        for batch, found in zip(tokens, features, strict=True):
            own = encoder(batch, readout=near).regions
            torch.testing.assert_close(found.regions, own, rtol=0, atol=1e-5)
            assert (own[:, 0] - own[:, 1]).abs().max() > 1e-3


def test_pictures_of_features_are_drawn_also_after_a_resume(model: str, quiet: Path, tmp_path: Path) -> None:
    encode(job(model), tmp_path / "out", stop=after_calls(13))
    report = encode(job(model), tmp_path / "out", resume=True, preview=tmp_path / "p.mp4", still=tmp_path / "s.png")
    assert report.preview is not None
    encode(job(model), tmp_path / "whole", still=tmp_path / "t.png")
    assert (tmp_path / "s.png").read_bytes() == (tmp_path / "t.png").read_bytes()
    assert shard_bytes(tmp_path / "out") == shard_bytes(quiet)


@pytest.mark.parametrize("family", ["siglip", "dinov3", "qwen3_vl"])
def test_models_without_a_class_token_without_a_table_and_with_squares(family: str, tmp_path: Path) -> None:
    """SigLIP pools its tokens, DINOv3 has rotary positions, Qwen's tower wants squares and gives no answer."""
    import transformers

    own = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    own |= {"image_size": 48, "patch_size": 8}
    made: dict[str, Any] = {
        "siglip": lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**own)),
        "dinov3": lambda: transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**own)),
        "qwen3_vl": qwen3_vl,
    }
    made[family]().eval().save_pretrained(tmp_path / family)
    settings = {"keep_tokens": True, "dtype": "float32"}
    encode(job(str(tmp_path / family), features=settings, tokens=28, frames=4), tmp_path / "out")
    encoder = encoders.load(tmp_path / family)
    with torch.inference_mode(), open_tokens(tmp_path / "out") as tokens, open_features(tmp_path / "out") as features:
        assert tokens.meta.settings["layout_options"] == ({"block": 2} if family == "qwen3_vl" else {})
        for batch, found in zip(tokens, features, strict=True):
            own_features = encoder(batch)
            torch.testing.assert_close(found.tokens, own_features.tokens, rtol=0, atol=1e-4)
            assert (found.pooled is None) == (own_features.pooled is None) == (family == "qwen3_vl")


# ---------------------------------------------------------------- disturbed

KILLED = """
import os, signal, sys
from texvlm.encode import EncodeSettings, encode

def progress(now):
    if now.frame == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

encode(EncodeSettings.model_validate_json(sys.argv[1]), sys.argv[2], resume=True, progress=progress)
"""


def test_kill_9_and_resume_give_the_bytes_of_a_quiet_run(model: str, quiet: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", KILLED, job(model).model_dump_json(), str(tmp_path), "13"],
        env=ENVIRONMENT,
        check=False,
        timeout=120,
    )
    assert process.returncode == -signal.SIGKILL
    with open_features(tmp_path) as store:
        assert (len(store), store.meta.status) == (8, "running")
    report = encode(job(model), tmp_path, resume=True)
    assert (report.first_frame, report.status) == (8, "complete")
    assert shard_bytes(tmp_path) == shard_bytes(quiet)


@pytest.mark.parametrize("frames", [1, 8, 13])
def test_a_stop_keeps_every_frame_and_a_resume_gives_the_same_bytes(
    model: str, quiet: Path, tmp_path: Path, frames: int
) -> None:
    report = encode(job(model), tmp_path, stop=after_calls(frames))
    assert (report.status, report.frames) == ("stopped", frames)
    with open_features(tmp_path) as found, open_features(quiet) as expected:
        for i in range(frames):
            torch.testing.assert_close(found[i].tokens.float(), expected[i].tokens.float(), rtol=0, atol=4e-3)
    assert encode(job(model), tmp_path, resume=True).status == "complete"
    assert shard_bytes(tmp_path) == shard_bytes(quiet)


def test_a_resume_after_frames_of_another_size_gives_the_same_bytes(model: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(3)
    for i in range(14):
        side = 96 if i < 5 else 160
        write_png(tmp_path / "in" / f"{i:02}.png", rng.integers(0, 256, (96, side, 3), np.uint8))
    settings = job(model, input=str(tmp_path / "in"), layout="uniform", tokens=None, frames=None, shard_frames=None)
    encode(settings, tmp_path / "whole")
    encode(settings, tmp_path / "twice", stop=after_calls(10))
    assert encode(settings, tmp_path / "twice", resume=True).first_frame == 5
    assert shard_bytes(tmp_path / "twice") == shard_bytes(tmp_path / "whole")
    with open_features(tmp_path / "whole") as store:
        assert len({shard.tokens for shard in store.meta.shards}) == 2


def test_a_source_that_breaks_keeps_every_frame_before(
    model: str, quiet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: EncodeSettings) -> BreaksAt13:
        return BreaksAt13(real(self))

    real = EncodeSettings.open_source
    with monkeypatch.context() as patch:
        patch.setattr(EncodeSettings, "open_source", broken)
        with pytest.raises(SourceError, match=f"the cable was pulled; the 13 frames before it are in {tmp_path}"):
            encode(job(model), tmp_path)
    with open_features(tmp_path) as store:
        assert (len(store), store.meta.status) == (13, "stopped")
    encode(job(model), tmp_path, resume=True)
    assert shard_bytes(tmp_path) == shard_bytes(quiet)


def test_a_look_that_breaks_keeps_every_frame_before(model: str, tmp_path: Path) -> None:
    settings = job(model, moving=False, look="test_encode_features.BreaksAtTen")
    with pytest.raises(LookError, match=r"tired; .* the 9 frames before it are in"):
        encode(settings, tmp_path / "out")
    with open_features(tmp_path / "out") as store:
        assert len(store) == 9


class BreaksAt13:
    """A source that fails on frame 13."""

    def __init__(self, source: Source) -> None:
        self._source, self._left = source, 13

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __next__(self) -> Frame:
        self._left -= 1
        if self._left < 0:
            raise SourceError("the cable was pulled")
        return next(self._source)

    def __enter__(self) -> BreaksAt13:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()


class BreaksAtTen:
    """A look policy that fails on its tenth frame."""

    name, count = "mine", 1

    def __init__(self) -> None:
        self.seen = 0

    def look(self, scene: Any) -> Any:
        from texvlm.fixation import Look

        self.seen += 1
        if self.seen == 10:
            raise RuntimeError("tired")
        return Look(np.array([[0.5, 0.5]]))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "are not finite; look for NaN"),
        ("memory", "small failed on 3 frames of 24 tokens: no room; try a smaller"),
    ],
)
def test_a_model_that_fails_loses_nothing_that_was_encoded(
    model: str, quiet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    real, calls = ViTEncoder.embed, []

    def failing(self: ViTEncoder, pixels: torch.Tensor) -> torch.Tensor:
        calls.append(len(pixels))
        if len(calls) < 6:  # a trial, three batches of the first shard, one of the second
            return real(self, pixels)
        if fault == "memory":
            raise RuntimeError("no room")
        return real(self, pixels) * float("nan")

    with monkeypatch.context() as patch:
        patch.setattr(ViTEncoder, "embed", failing)
        with pytest.raises(ModelError, match=f"{words}.*; the 11 frames before are in {tmp_path}"):
            encode(job(model), tmp_path)
    with open_features(tmp_path) as store:
        assert (len(store), store.meta.status) == (11, "stopped")
    encode(job(model), tmp_path, resume=True)
    assert shard_bytes(tmp_path) == shard_bytes(quiet)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"patch": 8}, ValueError, "patch is 8, but small takes tokens of 16 x 16"),
        ({"channels": 1}, ValueError, "channels is 1, but small takes 3"),
        ({"look": "saliency:follow=map", "moving": False}, ValueError, "gives a score map; leave the read-out out"),
        ({"features": {"model": "nowhere"}}, ModelError, "nowhere: no such folder"),
        ({"input": "nowhere.mp4"}, SourceError, "nowhere.mp4"),
    ],
)
def test_what_cannot_be_served_leaves_nothing_behind(
    model: str, tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        encode(job(model, **({"features": {"readout_deg": 5.0}} | changes)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "mean and std are the model's own"),
        ({"store": "changes"}, "store 'changes' is about tokens"),
    ],
)
def test_settings_that_contradict_each_other(model: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        job(model, **changes)


def test_a_resume_with_another_model_names_the_difference(quiet: Path, tmp_path: Path) -> None:
    before = shard_bytes(quiet)
    other = str(save_vit(tmp_path / "small", seed=8))
    with pytest.raises(StoreError, match=r"cannot resume .* model\.weights_sha256 is"):
        encode(job(other), quiet, resume=True)
    assert shard_bytes(quiet) == before


@pytest.mark.data
def test_the_real_vit_on_real_footage(data_folder: Path, tmp_path: Path) -> None:
    real = str(data_folder.parent / "models" / "vit-tiny-patch16-224")
    clip = str(data_folder / "action_cup_shuffle.mp4")
    wanted = {"input": clip, "every": 100, "backend": "cpu"}
    encode(EncodeSettings(features=FeatureSettings(model=real, keep_tokens=True, dtype="float32"), **wanted), tmp_path)
    encoder = encoders.load(real)
    with torch.inference_mode(), open_tokens(tmp_path) as tokens, open_features(tmp_path) as features:
        assert len(features) == 3
        for batch, found in zip(tokens, features, strict=True):
            torch.testing.assert_close(found.pooled, encoder(batch).pooled, rtol=0, atol=1e-4)
