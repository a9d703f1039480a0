"""Features on the disk: beside tokens or instead of them, read back as they were made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file
from token_batches import assert_same, make_batch, make_clip

from texvlm import open_features, open_tokens
from texvlm.encoders import Features
from texvlm.errors import StoreError
from texvlm.store import TokenWriter
from texvlm.store.shards import ShardShape
from texvlm.tokens import TokenBatch

WIDTH = 7
MODEL = {"name": "small", "weights_sha256": "00"}


def features_of(batch: TokenBatch, seed: int, **parts: int | None) -> Features:
    """Random features that float16 holds exactly; `prefix`, `pooled` and `regions` say how many."""
    draw = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randint(-99, 99, shape, generator=draw).float() / 8

    wanted: dict[str, Any] = {"prefix": 2, "pooled": 5, "regions": 3} | parts
    return Features.of(
        batch,
        numbers(1, batch.pixels.shape[1], WIDTH),
        prefix=numbers(1, wanted["prefix"] or 0, WIDTH),
        pooled=numbers(1, wanted["pooled"]) if wanted["pooled"] else None,
        regions=numbers(1, wanted["regions"], 5) if wanted["regions"] else None,
    )


def write(folder: Path, clip: list[TokenBatch], *, parts: dict[str, int | None] | None = None, **options: Any) -> None:
    with TokenWriter(folder, model=MODEL, **options) as writer:
        for i, batch in enumerate(clip):
            writer.append(batch, features_of(batch, i, **(parts or {})))


def assert_same_features(found: Features, expected: Features) -> None:
    for name in ("tokens", "prefix", "pooled", "regions"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        assert one is None or torch.equal(one.float(), other), name
    assert torch.equal(found.padding, expected.padding)
    for name in ("rows", "sizes", "sources", "pts"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("parts", [{}, {"prefix": None, "pooled": None, "regions": None}], ids=["all", "tokens only"])
def test_features_come_back_as_they_were_made(tmp_path: Path, dtype: str, parts: dict[str, int | None]) -> None:
    clip = make_clip(10)
    write(tmp_path, clip, contents="features", feature_dtype=dtype, shard_frames=4, parts=parts)
    with open_features(tmp_path) as store:
        assert len(store) == 10
        for i, batch in enumerate(clip):
            assert store[i].tokens.dtype == getattr(torch, dtype)
            assert_same_features(store[i], features_of(batch, i, **parts))
        assert_same_features(store[2:8][3], features_of(clip[5], 5, **parts))
        assert store.meta.model == MODEL
        shard = load_file(tmp_path / store.meta.shards[0].name)
        assert "pixels" not in shard
        assert set(shard) == set(store.meta.tensors) - {name for name, count in parts.items() if count is None}
        store.verify()


@pytest.mark.parametrize("mode", ["full", "changes"])
def test_tokens_lie_beside_features(tmp_path: Path, mode: str) -> None:
    clip = make_clip(9)
    write(tmp_path, clip, contents="both", store=mode, shard_frames=4)
    with open_tokens(tmp_path) as tokens, open_features(tmp_path) as features:
        for i, batch in enumerate(clip):
            assert_same(tokens[i], batch)
            assert_same_features(features[i], features_of(batch, i))


def test_answers_are_read_without_the_tokens(tmp_path: Path) -> None:
    clip = make_clip(10)
    write(tmp_path, clip, contents="features", shard_frames=4)
    expected = torch.cat([features_of(batch, i).pooled for i, batch in enumerate(clip)])
    with open_features(tmp_path) as store:
        answers, times = store.answers()
        assert torch.equal(answers, expected)
        assert times[:4].tolist() == [batch.pts[0] for batch in clip[:4]]
        assert torch.equal(store[3:9:2].answers()[0], expected[3:9:2])


def test_a_model_without_answers_is_said_to_have_none(tmp_path: Path) -> None:
    write(tmp_path, make_clip(2), contents="features", parts={"pooled": None, "regions": None})
    with open_features(tmp_path) as store, pytest.raises(StoreError, match="no answers for whole frames: small gives"):
        store.answers()


def test_a_folder_says_what_it_does_not_hold(tmp_path: Path) -> None:
    write(tmp_path / "f", make_clip(1), contents="features")
    with TokenWriter(tmp_path / "t") as writer:
        writer.append(make_clip(1)[0])
    with pytest.raises(StoreError, match=r"holds features without tokens; read it with texvlm\.open_features"):
        open_tokens(tmp_path / "f")
    with pytest.raises(StoreError, match="holds tokens without features; write them with a model"):
        open_features(tmp_path / "t")


def test_another_model_cannot_go_on(tmp_path: Path) -> None:
    write(tmp_path, make_clip(3), contents="features")
    for options, words in (
        ({"contents": "features", "model": MODEL | {"weights_sha256": "11"}}, 'model.weights_sha256 is "11" but was'),
        ({"contents": "both", "model": MODEL}, 'contents is "both" but was "features"'),
        ({"contents": "features", "model": MODEL, "feature_dtype": "float32"}, 'feature_dtype is "float32"'),
    ):
        with pytest.raises(StoreError, match=words):
            TokenWriter(tmp_path, resume=True, **options)  # type: ignore[arg-type]


def test_features_that_do_not_fit_are_refused_and_lose_nothing(tmp_path: Path) -> None:
    one, two, three = make_clip(3)
    with TokenWriter(tmp_path, contents="features", model=MODEL) as writer:
        writer.append(one, features_of(one, 0))
        with pytest.raises(ValueError, match="a frame without features for a folder of features"):
            writer.append(two)
        with pytest.raises(ValueError, match=r"features of shapes .* this store began with"):
            writer.append(two, features_of(two, 1, regions=4))
        large = dataclasses.replace(features_of(two, 1), pooled=torch.full((1, 5), 7e4))
        with pytest.raises(ValueError, match="pooled hold a number that is not finite in float16"):
            writer.append(two, large)
        with pytest.raises(ValueError, match=r"features of .* tokens beside a table of"):
            writer.append(two, features_of(make_batch(1, tokens=5), 1))
        writer.append(three, features_of(three, 2))
    with open_features(tmp_path) as store:
        assert_same_features(store[1], features_of(three, 2))
    with (
        TokenWriter(tmp_path / "t") as writer,
        pytest.raises(ValueError, match="features of a frame for a folder of t"),
    ):
        writer.append(one, features_of(one, 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contents": "pixels"}, "contents is 'pixels'; accepted: tokens, features, both"),
        ({"contents": "features", "store": "changes"}, "store 'changes' is about tokens"),
        ({"contents": "both", "feature_dtype": "int8"}, "feature_dtype is 'int8'; accepted: float16, float32"),
        ({"group": 0}, "group is 0"),
    ],
)
def test_writers_that_make_no_sense(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TokenWriter(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_shard_of_unasked_length_holds_whole_groups() -> None:
    small = ShardShape(tokens=268, channels=3, patch=16, dtype="uint8")
    assert [small.frames_per_shard(group=n) for n in (1, 24, 64, 100)] == [64, 48, 64, 100]
