"""The model of a job: loaded, fitted to the tokens, and named so that features of another one are told apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import JsonValue

from texvlm.encode.settings import EncodeSettings
from texvlm.encoders import Encoder, Features, Readout, load
from texvlm.errors import ModelError
from texvlm.fixation import Look
from texvlm.tokens import TokenBatch

MARGIN_TEXELS = 0.5
"""A read-out around a fixation outside the frame is taken this far inside its edge, where there are tokens."""


@dataclass(frozen=True, slots=True)
class JobModel:
    """An encoder, and what is to be read from it.

    Attributes:
        encoder: in evaluation mode.
        facts: what tells its features from those of another one, JSON values.
        readout_deg: radius of the region around each fixation, degrees; None for none.
        fov_deg: field of view across the longer side, degrees.
    """

    encoder: Encoder
    facts: dict[str, JsonValue]
    readout_deg: float | None
    fov_deg: float

    def encode(self, batch: TokenBatch, looks: list[Look]) -> Features:
        """Features of a batch, whose views were looked at so; every number is finite.

        Raises:
            ValueError: the batch does not fit the model, or looks have other numbers of fixations.
            ModelError: the model failed, or gave what is not finite.
        """
        readout = self._readout(batch, looks)
        try:
            with torch.inference_mode():
                return self.encoder(batch, readout=readout).check_finite()
        except (ValueError, TypeError, ModelError):
            raise
        except Exception as error:  # a model's own code raises all kinds; out of memory is one of them
            words = " ".join(str(error).split()) or type(error).__name__
            raise ModelError(
                f"{self.encoder.name} failed on {len(batch)} frames of {batch.pixels.shape[1]} tokens: {words}; try a "
                "smaller batch, or fewer tokens"
            ) from error

    def _readout(self, batch: TokenBatch, looks: list[Look]) -> Readout | None:
        if self.readout_deg is None:
            return None
        inside = MARGIN_TEXELS / batch.sizes[:, None].astype(np.float64)
        points = np.clip(np.stack([look.fixations for look in looks]), inside, 1 - inside)
        return Readout.near(points, eccentricity_deg=self.readout_deg, fov_deg=self.fov_deg)


def load_model(settings: EncodeSettings) -> JobModel:
    """The model that settings name.

    Raises:
        ModelError: the folder cannot be used.
        ValueError: the settings name no model.
    """
    wanted = settings.features
    if wanted is None:
        raise ValueError("no model is given; name the folder of one")
    encoder = load(wanted.model, positions=wanted.positions)
    facts: dict[str, JsonValue] = {
        "name": encoder.name,
        "positions": wanted.positions,
        "readout_deg": wanted.readout_deg,
        "width": encoder.width,
        "patch": encoder.patch,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        **digests(Path(wanted.model)),
    }
    return JobModel(encoder, facts, wanted.readout_deg, settings.fov_deg)


def digests(folder: Path) -> dict[str, JsonValue]:
    """SHA-256 of a model's configuration, and of its weights."""
    weights = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            weights.update(hashlib.file_digest(file, "sha256").digest())
    config = hashlib.sha256((folder / "config.json").read_bytes())
    return {"config_sha256": config.hexdigest(), "weights_sha256": weights.hexdigest()}


def same_features(facts: dict[str, Any], others: dict[str, Any]) -> bool:
    """Whether features of two models may be compared: same weights, same reading of positions."""
    names = ("config_sha256", "weights_sha256", "positions")
    return all(facts.get(name) == others.get(name) for name in names)
