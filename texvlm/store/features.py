"""Features in shards: what a model made of the tokens of each frame, as arrays in memory and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.encoders.features import Features
from texvlm.errors import StoreError
from texvlm.layouts.table import Table
from texvlm.store.meta import FEATURE_TENSORS, FeatureType

_BUFFER_DTYPES: dict[FeatureType, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """What the features of all frames of one shard share.

    Attributes:
        dtype: element type on the disk.
        shapes: of each tensor of a frame, by the names of FEATURE_TENSORS.
    """

    dtype: FeatureType
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, features: Features, dtype: FeatureType) -> FeatureShape:
        """The shape of one view's features."""
        return cls(dtype, tuple((name, tuple(part.shape[1:])) for name, part in _parts(features).items()))

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's features."""
        return sum(int(np.prod(shape)) for _, shape in self.shapes) * np.dtype(_BUFFER_DTYPES[self.dtype]).itemsize

    def last(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor without its count of tokens, which may change from frame to frame."""
        return {name: shape[1:] if name == "features" else shape for name, shape in self.shapes}


class FeatureBuffer:
    """Features of frames on their way into one shard. Holds at most `capacity` frames and never grows."""

    def __init__(self, shape: FeatureShape, *, capacity: int) -> None:
        dtype = _BUFFER_DTYPES[shape.dtype]
        self._arrays = {name: np.empty((capacity, *each), dtype) for name, each in shape.shapes}

    def put(self, index: int, features: Features) -> None:
        """Copy one view in as frame `index`; ValueError for a number that the element type cannot hold."""
        for name, part in _parts(features).items():
            array = self._arrays[name]
            with np.errstate(over="ignore"):
                array[index] = part[0].detach().float().cpu().numpy()
            if not np.isfinite(array[index]).all():
                raise ValueError(
                    f"{name} hold a number that is not finite in {array.dtype}; look for NaN in the model, or store "
                    "float32"
                )

    def arrays(self, frames: int) -> dict[str, NDArray[Any]]:
        """The first so many frames, by tensor."""
        return {name: array[:frames] for name, array in self._arrays.items()}


def features_of(tensors: Mapping[str, torch.Tensor], i: int, **geometry: Any) -> Features:
    """Frame `i` of a shard's tensors as one view that owns its memory.

    Args:
        tensors: by the names of FEATURE_TENSORS.
        i: the frame.
        geometry: padding, rows, sizes, sources and pts of the view.
    """
    found = {name: tensors[name][i : i + 1].clone() for name in FEATURE_TENSORS if name in tensors}
    tokens = found["features"]
    return Features(
        tokens=tokens,
        prefix=found.get("prefix", tokens[:, :0]),
        pooled=found.get("pooled"),
        regions=found.get("regions"),
        **geometry,
    )


def check_places(features: Features, table: Table) -> None:
    """ValueError unless features are one view, with a row for each row of the tokens' table."""
    if len(features) != 1 or tuple(features.rows.shape)[:2] != table.shape:
        raise ValueError(f"features of {tuple(features.rows.shape[:2])} tokens beside a table of {table.shape}")


def without_features(folder: object) -> StoreError:
    """The error of a folder that holds tokens alone."""
    return StoreError(f"{folder} holds tokens without features; write them with a model: texvlm encode --model DIR")


def _parts(features: Features) -> dict[str, torch.Tensor]:
    """The tensors that there are."""
    parts = {
        "features": features.tokens,
        "prefix": features.prefix if features.prefix.shape[1] else None,
        "pooled": features.pooled,
        "regions": features.regions,
    }
    return {name: part for name, part in parts.items() if part is not None}
