"""Features kept between runs: one file for each frame, named by all that they depend on.

A run that was cut off goes on where it stopped, and a change of the probe costs no forward pass.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm import __version__
from texvlm.encoders import Encoder
from texvlm.files import write_whole

Arrays = dict[str, NDArray[np.float32]]


class FeatureStore:
    """A folder of features.

    Args:
        folder: made when first written; None keeps nothing.
        encoder: its weights become part of every name.
    """

    def __init__(self, folder: Path | None, encoder: Encoder) -> None:
        self._folder = folder
        digest = hashlib.sha256(__version__.encode())
        for name, weights in sorted(encoder.state_dict().items()):
            digest.update(f"{name} {tuple(weights.shape)}".encode())
            digest.update(weights.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self._encoder = digest.hexdigest()

    def get(self, description: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays that a description stands for, made where there are none; a damaged file is made anew.

        Args:
            description: everything they depend on besides the encoder and texvlm's version.
            make: computes them.
        """
        if self._folder is None:
            return make()
        name = hashlib.sha256(f"{self._encoder} {description}".encode()).hexdigest()[:32]
        path = self._folder / f"{name}.npz"
        try:
            # from memory: what is damaged would leave the file open
            with np.load(io.BytesIO(path.read_bytes())) as kept:
                return {key: kept[key] for key in kept.files}
        except (FileNotFoundError, ValueError, EOFError, zipfile.BadZipFile):
            pass
        arrays = make()
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, packed.getvalue())
        return arrays
