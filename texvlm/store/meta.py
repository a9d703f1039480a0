"""meta.json: what a token folder holds and how it was made, as checked records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from texvlm.errors import StoreError
from texvlm.files import write_whole

META_NAME = "meta.json"
FORMAT = "texvlm-tokens"
SCHEMA_VERSION = 1

StoreMode = Literal["full", "changes"]
Status = Literal["running", "stopped", "complete"]
Contents = Literal["tokens", "features", "both"]
FeatureType = Literal["float16", "float32"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TableField(_Record):
    """One column of the `table` tensor."""

    name: str
    unit: str
    meaning: str


class FrameSize(_Record):
    """Frames from `first_frame` on have this (width, height), texels, until the next entry."""

    first_frame: int = Field(ge=0)
    size: tuple[int, int]


class ShardInfo(_Record):
    """One shard file and the frames in it.

    `cut` marks a shard that a stop ended before it was full: it reads like any other, and a resume
    writes it again from its first frame.
    """

    name: str = Field(pattern=r"^tokens-\d{5,}(\.cut)?\.safetensors$")
    first_frame: int = Field(ge=0)
    frames: int = Field(ge=1)
    tokens: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    cut: bool = False

    @property
    def end_frame(self) -> int:
        """Index after its last frame."""
        return self.first_frame + self.frames


TABLE_COLUMNS = [
    TableField(name="x", unit="level-0 texels", meaning="centre, from the left edge of the frame"),
    TableField(name="y", unit="level-0 texels", meaning="centre, from the top edge of the frame"),
    TableField(
        name="side", unit="level-0 texels", meaning="side of the token's square; LOD = max(0, log2(side / patch))"
    ),
    TableField(name="layer", unit="index", meaning="texture-array layer, a whole number; -1 for a padding row"),
    TableField(name="region", unit="index", meaning="fixation or crop that the token serves, a whole number"),
    TableField(name="valid", unit="fraction, 0..1", meaning="part of the token's area inside the frame; 0 for padding"),
]
"""The columns of `table`, in the order of TOKEN_RECORD. All float32: whole numbers up to 2**24 are exact."""

_COMMON_TENSORS = {
    "table": "float32 (frames, tokens, fields): geometry, columns as in table_fields",
    "valid": "float32 (frames, tokens): the last column of table, for readers that need no other",
    "dirty": "bool (frames, tokens): the token changed since the frame before",
    "pts": "float64 (frames,): presentation time, seconds; NaN when unknown",
    "sizes": "int32 (frames, 2): (width, height) of the frame, texels",
    "sources": "int32 (frames,): source that the frame came from",
}
FEATURE_TENSORS = {
    "features": "(frames, tokens, width): what the model made of each token; 0 in padding rows",
    "prefix": "(frames, k, width): class token, then registers; absent from a model without",
    "pooled": "(frames, pooled width): the model's answer for the whole frame; absent from a model without",
    "regions": "(frames, regions, pooled width): its answer for each region of the read-out; absent without one",
}
"""Tensors that features add to a shard; float16 or float32."""

TENSORS: dict[StoreMode, dict[str, str]] = {
    "full": {"pixels": "(frames, tokens, channels, patch, patch)", **_COMMON_TENSORS},
    "changes": {
        "pixels": "(stored tokens, channels, patch, patch): rows for each True of `stored`, in reading order",
        "stored": "bool (frames, tokens): pixels differ from the frame before; a shard's first frame is all True",
        **_COMMON_TENSORS,
    },
}
"""Tensors of a shard, for meta.json to explain itself."""


def tensors_of(store: StoreMode, contents: Contents) -> dict[str, str]:
    """Tensors of a shard, each explained."""
    if contents == "features":
        return {**FEATURE_TENSORS, **_COMMON_TENSORS}
    return TENSORS[store] if contents == "tokens" else {**TENSORS[store], **FEATURE_TENSORS}


class StoreMeta(_Record):
    """Everything in meta.json. Read and written whole; validated both ways.

    `channels`, `patch` and `dtype` are those of the tokens, also where only features were kept. `model`
    names what made the features and `feature_shapes` is what a frame has of each tensor, without the
    count of tokens.

    `counters` and `timings_ms` are totals of the work behind the shards; frames that were encoded
    again after a stop count again.
    """

    format: Literal["texvlm-tokens"] = "texvlm-tokens"
    schema_version: Literal[1] = 1
    texvlm_version: str
    status: Status = "running"
    store: StoreMode
    contents: Contents = "tokens"
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    engine: dict[str, JsonValue] = Field(default_factory=dict)
    shard_frames: int | None = Field(default=None, ge=1)
    channels: int | None = None
    patch: int | None = None
    dtype: Literal["uint8", "float16", "bfloat16", "float32"] | None = None
    model: dict[str, JsonValue] | None = None
    feature_dtype: FeatureType | None = None
    feature_shapes: dict[str, tuple[int, ...]] | None = None
    table_fields: list[TableField] = TABLE_COLUMNS
    tensors: dict[str, str] = Field(default_factory=dict)
    frames: int = Field(default=0, ge=0)
    frame_sizes: list[FrameSize] = Field(default_factory=list)
    counters: dict[str, int] = Field(default_factory=dict)
    timings_ms: dict[str, float] = Field(default_factory=dict)
    shards: list[ShardInfo] = Field(default_factory=list)

    @model_validator(mode="after")
    def _shards_follow_each_other(self) -> Self:
        end = 0
        if any(shard.cut for shard in self.shards[:-1]):
            raise ValueError("a cut shard stands before another one")
        for shard in self.shards:
            if shard.first_frame != end:
                raise ValueError(f"{shard.name} begins at frame {shard.first_frame}, not {end}")
            end = shard.end_frame
        if self.frames != end:
            raise ValueError(f"frames is {self.frames}, but the shards hold {end}")
        if self.shards and (self.channels is None or self.patch is None or self.dtype is None):
            raise ValueError("channels, patch and dtype are missing")
        if self.contents != "tokens" and self.feature_dtype is None:
            raise ValueError("feature_dtype is missing")
        return self

    def write(self, folder: Path) -> None:
        """Replace the folder's meta.json at once; OSError as in `write_whole`."""
        write_whole(folder / META_NAME, (self.model_dump_json(indent=1) + "\n").encode())


def read_meta(folder: Path) -> StoreMeta:
    """The checked meta.json of a folder.

    Raises:
        StoreError: missing, not JSON, of another program, of another schema, or inconsistent.
    """
    path = folder / META_NAME
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{folder} holds no tokens: it has no {META_NAME}; give a folder written by texvlm") from None
    except NotADirectoryError:
        raise StoreError(f"{folder} is a file; give the folder that holds {META_NAME}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: not JSON ({error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StoreError(f"{path} was not written by texvlm: it does not say format {FORMAT!r}")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(f"{path} has schema version {version!r}; this texvlm reads version {SCHEMA_VERSION}")
    try:
        return StoreMeta.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise StoreError(f"{path} is damaged: {where}: {first['msg']}") from None
