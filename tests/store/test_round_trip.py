"""What is read back is what was written, to the bit; and little of it is in memory at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file
from token_batches import PATCH, assert_same, make_batch, make_clip

from texvlm.backends.base import TOKEN_DTYPES
from texvlm.errors import ClosedError, StoreError
from texvlm.layouts.table import TABLE_FIELDS
from texvlm.store import TokenWriter, open_tokens
from texvlm.store.meta import StoreMode
from texvlm.store.shards import SHARD_BYTES, ShardShape
from texvlm.tokens import TokenBatch


def write(folder: Path, clip: list[TokenBatch], **options: object) -> None:
    with TokenWriter(folder, **options) as writer:  # type: ignore[arg-type]
        for batch in clip:
            writer.append(batch)


@pytest.mark.parametrize("mode", ["full", "changes"])
@pytest.mark.parametrize("dtype", TOKEN_DTYPES, ids=str)
def test_every_dtype_comes_back_bit_for_bit(tmp_path: Path, mode: StoreMode, dtype: torch.dtype) -> None:
    clip = make_clip(10, dtype=dtype)
    write(tmp_path, clip, store=mode, shard_frames=4)
    with open_tokens(tmp_path) as store:
        assert len(store) == 10
        assert store.meta.status == "complete"
        for found, expected in zip(store, clip, strict=True):
            assert_same(found, expected)
        store.verify()


@settings(max_examples=25, deadline=None)
@given(
    changed=hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.just(6))),
    lie=st.booleans(),
    shard_frames=st.integers(1, 5),
    data=st.data(),
)
def test_changes_mode_gives_back_any_pattern_of_changes(
    changed: np.ndarray, lie: bool, shard_frames: int, data: st.DataObject
) -> None:
    clip: list[TokenBatch] = []
    for i, row in enumerate(changed):
        clip.append(make_batch(i, changed=row, before=clip[-1] if clip else None))
        if lie:  # pixels decide what is kept, not the flags that came along
            clip[-1].dirty[:] = ~clip[-1].dirty
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), clip, store="changes", shard_frames=shard_frames)
        with open_tokens(folder) as store:
            for i in data.draw(st.permutations(range(len(clip)))):
                assert_same(store[i], clip[i])


def test_changes_mode_keeps_only_what_changed(tmp_path: Path) -> None:
    clip = make_clip(8, share=0.3)
    write(tmp_path, clip, store="changes", shard_frames=4)
    for number in range(2):
        shard = load_file(tmp_path / f"tokens-{number:05d}.safetensors")
        later = sum(int(batch.dirty.sum()) for batch in clip[number * 4 + 1 : number * 4 + 4])
        assert len(shard["pixels"]) == 6 + later
        assert shard["stored"][0].all()


def test_nan_pixels_are_equal_to_themselves(tmp_path: Path) -> None:
    batch = make_batch(0)
    batch.pixels[0, 2] = float("nan")
    write(tmp_path, [batch, batch], store="changes")
    assert len(load_file(tmp_path / "tokens-00000.safetensors")["pixels"]) == 6


def test_shard_tensors_are_as_documented(tmp_path: Path) -> None:
    write(tmp_path, make_clip(5), shard_frames=3)
    shard = load_file(tmp_path / "tokens-00001.safetensors")
    assert {name: (value.shape, value.dtype.name) for name, value in shard.items()} == {
        "pixels": ((2, 6, 3, PATCH, PATCH), "float16"),
        "table": ((2, 6, 6), "float32"),
        "valid": ((2, 6), "float32"),
        "dirty": ((2, 6), "bool"),
        "pts": ((2,), "float64"),
        "sizes": ((2, 2), "int32"),
        "sources": ((2,), "int32"),
    }
    with open_tokens(tmp_path) as store:
        assert tuple(field.name for field in store.meta.table_fields) == TABLE_FIELDS
        assert set(store.meta.tensors) == set(shard)


def test_a_new_token_count_begins_a_new_shard(tmp_path: Path) -> None:
    clip = [make_batch(i, tokens=6 if i < 5 else 9, size=(64, 48) if i < 5 else (96, 48)) for i in range(8)]
    write(tmp_path, clip, store="changes", shard_frames=4)
    with open_tokens(tmp_path) as store:
        assert [(shard.frames, shard.tokens, shard.cut) for shard in store.meta.shards] == [
            (4, 6, False),
            (1, 6, False),
            (3, 9, False),
        ]
        assert [(entry.first_frame, entry.size) for entry in store.meta.frame_sizes] == [(0, (64, 48)), (5, (96, 48))]
        for found, expected in zip(store, clip, strict=True):
            assert_same(found, expected)


def test_indices_and_slices_are_those_of_a_sequence(tmp_path: Path) -> None:
    clip = make_clip(9)
    write(tmp_path, clip, shard_frames=2)
    with open_tokens(tmp_path) as store:
        assert_same(store[-1], clip[8])
        part = store[2:8:3]
        assert len(part) == 2
        assert_same(part[1], clip[5])
        assert [len(batch) for batch in store[3:5]] == [1, 1]
        with pytest.raises(IndexError, match="frame 9 of 9"):
            store[9]
        with pytest.raises(IndexError, match="frame 2 of 2"):
            part[2]


def test_a_batch_outlives_its_store_and_belongs_to_the_caller(tmp_path: Path) -> None:
    clip = make_clip(2)
    write(tmp_path, clip)
    with open_tokens(tmp_path) as store:
        batch = store[0]
        batch.pixels.zero_()
        batch.table["x"] = 0
        assert_same(store[0], clip[0])
        kept = store[1]
    assert_same(kept, clip[1])
    with pytest.raises(ClosedError, match="is closed"):
        store[0]


def test_reading_keeps_two_shards_at_most(tmp_path: Path) -> None:
    write(tmp_path, make_clip(20), shard_frames=2)
    with open_tokens(tmp_path) as store:
        opened = []
        for _ in store:
            opened.append(store.shards_open)
        assert max(opened) == 2
        store[0]
        store[19]
        assert store.shards_open == 2


def test_writing_keeps_one_shard_and_names_each_when_it_is_whole(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, shard_frames=4) as writer:
        written = [writer.append(batch) for batch in make_clip(10)]
        assert [shard and shard.name for shard in written] == [
            *[None] * 3,
            "tokens-00000.safetensors",
            *[None] * 3,
            "tokens-00001.safetensors",
            *[None] * 2,
        ]
        with open_tokens(tmp_path) as store:  # a reader beside a running writer sees whole shards
            assert (len(store), store.meta.status) == (8, "running")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "meta.json",
        *[f"tokens-0000{i}.safetensors" for i in range(3)],
    ]


def test_a_shard_is_about_64_megabytes_or_64_frames() -> None:
    small = ShardShape(tokens=268, channels=3, patch=16, dtype="uint8")
    large = ShardShape(tokens=4096, channels=3, patch=16, dtype="float32")
    huge = ShardShape(tokens=200_000, channels=4, patch=32, dtype="float32")
    assert small.frames_per_shard() == 64
    assert large.frames_per_shard() * large.frame_bytes <= SHARD_BYTES < 7 * large.frame_bytes
    assert huge.frames_per_shard() == 1


def test_an_empty_clip_is_a_complete_store_of_no_frames(tmp_path: Path) -> None:
    write(tmp_path, [])
    with open_tokens(tmp_path) as store:
        assert (len(store), list(store), store.meta.status) == (0, [], "complete")


def test_batches_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with TokenWriter(tmp_path) as writer:
        writer.append(make_batch(0))
        with pytest.raises(TypeError, match="tokens of uint8; this store began with float16"):
            writer.append(make_batch(1, dtype=torch.uint8))
        with pytest.raises(TypeError, match=r"tokens of torch\.float64; a store holds uint8, float16, b"):
            writer.append(make_batch(1, dtype=torch.float64))
        big = make_batch(1)
        big.table["region"] = 2**24 + 1
        with pytest.raises(ValueError, match="region holds 16777217"):
            writer.append(big)
    with open_tokens(tmp_path) as store:
        assert len(store) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "not written by texvlm"),
        (b'{"format": "other"}', "not written by texvlm"),
        (b'{"format": "texvlm-tokens", "schema_version": 7}', "schema version 7; this texvlm reads version 1"),
        (b'{"format": "texvlm-tokens", "schema_version": 1}', "damaged: texvlm_version"),
    ],
)
def test_a_foreign_or_damaged_meta_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "meta.json").write_bytes(content)
    with pytest.raises(StoreError, match=message) as caught:
        open_tokens(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_tokens_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no tokens: it has no meta\.json"):
        open_tokens(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file; give the folder"):
        open_tokens(tmp_path / "file")


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    write(tmp_path, make_clip(6), shard_frames=2)
    first, second, third = sorted(tmp_path.glob("tokens-*"))
    first.write_bytes(first.read_bytes()[:-1])
    content = bytearray(second.read_bytes())
    content[-1] ^= 1
    second.write_bytes(content)
    third.unlink()
    with open_tokens(tmp_path) as store:
        with pytest.raises(StoreError, match=r"tokens-00000\.safetensors is damaged: .* bytes, written were"):
            store[0]
        with pytest.raises(StoreError, match=r"tokens-00002\.safetensors is missing; its frames 4\.\.5"):
            store[5]
        first.unlink()
        with pytest.raises(StoreError, match="cannot read"):
            store.verify()
    write(tmp_path / "again", make_clip(2))
    shard = tmp_path / "again" / "tokens-00000.safetensors"
    shard.write_bytes(bytes(content[:0]) + b"\x00" * shard.stat().st_size)
    with open_tokens(tmp_path / "again") as store:
        with pytest.raises(StoreError, match="cannot read"):
            store[0]
        with pytest.raises(StoreError, match="SHA-256"):
            store.verify()
