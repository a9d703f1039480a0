"""Small vision transformers with random weights, the real one, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from texvlm import Engine, TokenBatch
from texvlm.encoders import Encoder
from texvlm.layouts import Layout

MakeBatch = Callable[..., TokenBatch]


@pytest.fixture(autouse=True)
def _no_gradients():
    """As in use; a test that trains turns them on itself."""
    with torch.no_grad():
        yield


def small_vit(*, classifier: bool = True, pooler: bool = False, **options: object) -> torch.nn.Module:
    """A ViT of three blocks over a 6 x 6 grid, in evaluation mode."""
    from transformers import ViTConfig, ViTForImageClassification, ViTModel

    torch.manual_seed(7)
    settings = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "image_size": 48,
        "patch_size": 8,
        "num_labels": 5,
    }
    config = ViTConfig(**(settings | options))
    model = ViTForImageClassification(config) if classifier else ViTModel(config, add_pooling_layer=pooler)
    for parameter in model.parameters():  # biases and norms start at 0 and 1, which would hide a mistake
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="session")
def make_vit() -> Callable[..., torch.nn.Module]:
    """`small_vit`."""
    return small_vit


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ViT with a classifier, saved."""
    folder = tmp_path_factory.mktemp("models") / "small-vit"
    small_vit().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def real_vit_folder(data_folder: Path) -> Path:
    """The pretrained ViT-Ti that lies beside the footage."""
    folder = data_folder.parent / "models" / "vit-tiny-patch16-224"
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing; it belongs to the footage", pytrace=False)
    return folder


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> list[NDArray[np.uint8]]:
    """Random pictures of (width, height), RGB, smooth enough that neighbours are alike."""
    rng = np.random.default_rng([seed, count])
    coarse = rng.integers(0, 256, (count, -(-size[1] // 4), -(-size[0] // 4), 3), np.uint8)
    return list(coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : size[1], : size[0]])


@pytest.fixture
def make_batch() -> MakeBatch:
    """make(encoder, frames, layout=..., fixations=..., **engine options): tokens of one frame a source."""

    def make(
        encoder: Encoder,
        frames: Sequence[NDArray[np.uint8]],
        *,
        layout: str | Layout = "uniform",
        fixations: object = (0.5, 0.5),
        **options: object,
    ) -> TokenBatch:
        settings = {"patch": encoder.patch, "mean": encoder.mean, "std": encoder.std, "backend": "cpu"} | options
        if settings.get("dtype") == torch.uint8:
            del settings["mean"], settings["std"]
        with Engine(sources=len(frames), layout=layout, **settings) as engine:
            for source, frame in enumerate(frames):
                engine.submit(frame, source)
            return engine.tokens(fixations)

    return make


@pytest.fixture
def make_pictures() -> Callable[..., list[NDArray[np.uint8]]]:
    """`pictures`."""
    return pictures


@pytest.fixture
def pixel_values() -> Callable[..., torch.Tensor]:
    """What a model's own image processor makes of frames of its native size: (n, channels, height, width)."""

    def make(encoder: Encoder, frames: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).double() / 255
        mean, std = (torch.tensor(numbers).double()[:, None, None] for numbers in (encoder.mean, encoder.std))
        return ((pixels - mean) / std).float()

    return make


@pytest.fixture
def assemble() -> Callable[..., torch.Tensor]:
    """The picture that a native uniform batch was cut from, (views, channels, height, width): the very same pixels."""

    def make(encoder: Encoder, batch: TokenBatch) -> torch.Tensor:
        rows = batch.pixels.unflatten(1, encoder.native_grid).permute(0, 3, 1, 4, 2, 5)
        return rows.flatten(4, 5).flatten(2, 3)

    return make
