"""Text against pictures: what in a view fits a few words, by the two towers of a CLIP or SigLIP.

    similarity = TextSimilarity.load("path/to/clip-vit-base-patch16")
    similarity.views(encoder(batch), "a red car", "a street")      # (views, 2)
    similarity(picture, "a red car")                               # (rows, columns), for a look policy

A map is made of read-outs: for each token one answer that reads that token alone, while the tokens
see everything, see texvlm.encoders.readout. Nothing is trained.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from texvlm.encoders.base import Encoder
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.loading import load
from texvlm.encoders.positions import Grid, PositionMethod
from texvlm.errors import ModelError
from texvlm.layouts.uniform import grid_rows
from texvlm.tokens import TokenBatch

VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
"""A folder with a tokenizer holds one of these."""

KEPT_TEXTS = 256
"""Texts whose answers are kept; past that all are forgotten."""


class TextSimilarity:
    """Cosine similarity, -1..1, of pictures and texts. Keeps what it made of each text.

    Args:
        encoder: of a model with a text tower, whose answers lie in one space with the text's.
        tokenizer: the model's own.

    Raises:
        ModelError: the model has no text tower.
    """

    def __init__(self, encoder: Encoder, tokenizer: Any) -> None:
        if not hasattr(encoder.model, "get_text_features"):
            raise ModelError(
                f"{encoder.name}: a {type(encoder.model).__name__} has no text tower; load a folder of a whole "
                "CLIPModel or SiglipModel"
            )
        self.encoder = encoder
        self.tokenizer = tokenizer
        self._texts: dict[str, torch.Tensor] = {}

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        positions: PositionMethod = "bilinear",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> TextSimilarity:
        """From a local folder with both towers and the tokenizer. Arguments as texvlm.encoders.load.

        Raises:
            ModelError: as `load`; or the folder has no text tower, or no tokenizer.
        """
        encoder = load(folder, positions=positions, device=device, dtype=dtype)
        found = cls(encoder, None)
        if not any((Path(folder) / name).is_file() for name in VOCABULARIES):
            raise ModelError(
                f"{folder}: no tokenizer ({', '.join(VOCABULARIES)}); fetch the tokenizer's files beside config.json"
            )
        from transformers import AutoTokenizer

        try:
            found.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers and tokenizers raise all kinds
            first = str(error).strip().splitlines()
            raise ModelError(
                f"{folder}: its tokenizer cannot be loaded ({first[0] if first else type(error).__name__})"
            ) from error
        return found

    def texts(self, *texts: str) -> torch.Tensor:
        """The text tower's answers, of length 1, (texts, pooled width).

        Raises:
            ValueError: no text, or an empty one.
            ModelError: the tokenizer belongs to another model.
        """
        if not texts or not all(text.strip() for text in texts):
            raise ValueError(f"texts {texts}; give at least one, and none empty")
        if len(self._texts) > KEPT_TEXTS:
            self._texts.clear()
        for text in texts:
            if text not in self._texts:
                self._texts[text] = self._answer(text)
        return torch.stack([self._texts[text] for text in texts])

    def views(self, answers: Features | torch.Tensor, *texts: str) -> torch.Tensor:
        """Similarity of each view's answer and each text, (views, texts).

        Args:
            answers: of this encoder; or any answers (..., pooled width), such as `regions`, which give (..., texts).
            *texts: what to look for.
        Raises:
            ValueError: no text, an empty one, or features without an answer.
        """
        if isinstance(answers, Features):
            if answers.pooled is None:
                raise ValueError("these features hold no answer for a view; give those of this encoder")
            answers = answers.pooled
        return functional.normalize(answers, dim=-1) @ self.texts(*texts).T

    def tokens(self, batch: TokenBatch, *texts: str) -> torch.Tensor:
        """Similarity of each token and each text, (views, tokens, texts); -1 in padding rows.

        Raises:
            ValueError: as `views`, or a batch that the encoder does not take.
            ModelError: the model has no answers for regions.
        """
        self.encoder.check(batch)
        geometry = Geometry.of(batch)
        views, tokens = geometry.sides.shape
        alone = torch.eye(tokens, device=batch.pixels.device).expand(views, -1, -1)
        regions = self.encoder.encode(batch.pixels, geometry, alone).regions
        assert regions is not None  # a model without answers was refused
        return self.views(regions, *texts).masked_fill(geometry.padding[..., None], -1.0)

    def __call__(self, picture: NDArray[np.generic], text: str) -> NDArray[np.float32]:
        """Similarity of each part of a picture and a text, (rows, columns): what look policies ask for.

        The picture is resized to as many square tokens as the model's own picture has, whatever its shape.

        Args:
            picture: (height, width, channels), float 0..1 or uint8; a coarse mip level will do.
            text: what to look for.
        Raises:
            ValueError: a picture of another shape, type or channel count, or an empty text.
        """
        with torch.no_grad():
            batch, grid = self._batch_of(np.asarray(picture))
            found = self.tokens(batch, text)[0, :, 0].float().cpu().numpy()
        return cast(NDArray[np.float32], found.reshape(grid))

    def _answer(self, text: str) -> torch.Tensor:
        """What the text tower says of one text, (pooled width,)."""
        model = cast(Any, self.encoder.model)
        config = model.config.text_config
        # SigLIP was trained on texts padded to full length, which its text tower attends to like to words
        full = str(model.config.model_type).startswith("siglip")
        given = self.tokenizer(
            text,
            padding="max_length" if full else False,
            max_length=config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        ids = given["input_ids"].to(self.encoder.device)
        if int(ids.max()) >= config.vocab_size:
            raise ModelError(
                f"{self.encoder.name}: the tokenizer made token {int(ids.max())} of {text!r}, the model knows "
                f"{config.vocab_size}; give the model's own tokenizer"
            )
        with torch.no_grad():
            answer = model.get_text_features(input_ids=ids).pooler_output[0]
        return functional.normalize(cast(torch.Tensor, answer), dim=-1)

    def _batch_of(self, picture: NDArray[np.generic]) -> tuple[TokenBatch, Grid]:
        """A whole picture as tokens of a uniform grid, and the grid."""
        encoder = self.encoder
        channels = len(encoder.mean)
        if picture.ndim != 3 or picture.shape[2] != channels or 0 in picture.shape:
            raise ValueError(f"picture of shape {picture.shape}; {encoder.name} takes (height, width, {channels})")
        if not (picture.dtype == np.uint8 or np.issubdtype(picture.dtype, np.floating)):
            raise ValueError(f"picture of {picture.dtype}; accepted: uint8, or floats in 0..1")
        pixels = torch.from_numpy(picture.astype(np.float32)).to(encoder.device).permute(2, 0, 1)[None]
        if picture.dtype == np.uint8:
            pixels = pixels / 255
        rows, columns = grid = _square_tokens(encoder.native_grid, (picture.shape[1], picture.shape[0]))
        patch = encoder.patch
        size = (columns * patch, rows * patch)
        if size != (picture.shape[1], picture.shape[0]):
            pixels = functional.interpolate(pixels, size=(size[1], size[0]), mode="bilinear", antialias=True)
        mean, std = (pixels.new_tensor(numbers)[:, None, None] for numbers in (encoder.mean, encoder.std))
        pixels = ((pixels - mean) / std).reshape(1, channels, rows, patch, columns, patch)
        tokens = pixels.permute(0, 2, 4, 1, 3, 5).reshape(1, rows * columns, channels, patch, patch)
        batch = TokenBatch(
            pixels=tokens,
            rows=grid_rows(size, patch)[None],
            dirty=torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device),
            sizes=np.array([size], np.int32),
            sources=np.zeros(1, np.int32),
            pts=np.full(1, np.nan),
        )
        return batch, grid


@lru_cache(maxsize=1)
def similarity_of(folder: str) -> TextSimilarity:
    """The similarity of a folder, loaded once for all sources that look by it; the last folder's is kept.

    Raises:
        ModelError: see TextSimilarity.load.
    """
    return TextSimilarity.load(folder)


def _square_tokens(native: Grid, size: tuple[int, int]) -> Grid:
    """(rows, columns) of about as many square tokens as a grid has, over a picture of (width, height)."""
    count, aspect = native[0] * native[1], size[0] / size[1]
    rows = max(round((count / aspect) ** 0.5), 1)
    return rows, max(round(count / rows), 1)
