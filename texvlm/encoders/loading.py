"""Loading a model: from a local folder, or from a model that is loaded already.

The configuration's `model_type` chooses the adapter. Nothing is downloaded: a folder holds what
`save_pretrained` writes, config.json and *.safetensors, and for the normalisation preprocessor_config.json,
or processor_config.json, into which transformers 5 writes it for models with a tokenizer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from texvlm.encoders.base import Encoder
from texvlm.encoders.positions import PositionMethod, check_method
from texvlm.errors import ModelError
from texvlm.layouts.base import is_finite

Factory = Callable[..., Encoder]
"""Called as factory(model, name=..., mean=..., std=..., positions=...); mean and std are None where unknown."""

ADAPTERS: dict[str, str | Factory] = {
    "clip": "texvlm.encoders.clip:CLIPEncoder",
    "clip_vision_model": "texvlm.encoders.clip:CLIPEncoder",
    "depth_anything": "texvlm.encoders.depth_anything:DepthAnythingEncoder",
    "dinov2": "texvlm.encoders.dinov2:DINOv2Encoder",
    "dinov2_with_registers": "texvlm.encoders.dinov2:DINOv2Encoder",
    "dinov3_vit": "texvlm.encoders.dinov3:DINOv3Encoder",
    "idefics3": "texvlm.encoders.idefics3:Idefics3Encoder",
    "qwen2_5_vl": "texvlm.encoders.qwen2_5_vl:Qwen25VLEncoder",
    "qwen2_5_vl_vision": "texvlm.encoders.qwen2_5_vl:Qwen25VLEncoder",
    "qwen3_vl": "texvlm.encoders.qwen3_vl:Qwen3VLEncoder",
    "qwen3_vl_vision": "texvlm.encoders.qwen3_vl:Qwen3VLEncoder",
    "siglip": "texvlm.encoders.siglip:SiglipEncoder",
    "siglip_vision_model": "texvlm.encoders.siglip:SiglipEncoder",
    "siglip2": "texvlm.encoders.naflex:NaFlexEncoder",
    "siglip2_vision_model": "texvlm.encoders.naflex:NaFlexEncoder",
    "smolvlm": "texvlm.encoders.idefics3:Idefics3Encoder",
    "vit": "texvlm.encoders.vit:ViTEncoder",
}
"""Adapter of each model type, or where it is: "module:name", imported when first used."""


def register(model_type: str, factory: Factory) -> None:
    """Make `load` use a factory for a model type of transformers, instead of an adapter there may be.

    Args:
        model_type: as config.json says it.
        factory: an Encoder's class, or a function that is called the same way.
    Raises:
        TypeError: the factory cannot be called.
    """
    if not callable(factory):
        raise TypeError(f"factory {factory!r} of model type {model_type!r} cannot be called; give an Encoder's class")
    ADAPTERS[model_type] = factory


def load(
    model: str | os.PathLike[str] | nn.Module,
    *,
    positions: PositionMethod = "bilinear",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Encoder:
    """An encoder, in evaluation mode.

    Args:
        model: a local folder, or a model of transformers, which is used and not copied: it, too, is moved and put
            in evaluation mode.
        positions: how the model's position table is read off the grid, see texvlm.encoders.positions.
        device: where it runs; None for the CPU, or where the model is.
        dtype: element type; None for what the weights are stored in, or what the model has.
    Raises:
        ModelError: the folder is missing or incomplete, its weights do not fit its configuration, or
            no adapter takes such a model; says what to do.
        ValueError: an unknown way to read positions.
    """
    check_method(positions)
    if isinstance(model, nn.Module):
        name, mean, std = type(model).__name__, None, None
    else:
        folder = Path(model)
        model_type = _read_config(folder)["model_type"]
        _factory(str(model_type), str(folder))  # before the weights are read
        mean, std = _read_normalisation(folder)
        name, model = folder.name, _read_model(folder, dtype)
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    factory = _factory(str(model_type), name)
    try:
        encoder = factory(model, name=name, mean=mean, std=std, positions=positions)
    except AttributeError as error:  # config.json names one family and holds another, or only a part was given
        raise ModelError(
            f"{name}: a {type(model).__name__} is no model of type {model_type!r} that its adapter takes ({error}); "
            "give the whole model, or vision tower, that the type stands for"
        ) from error
    return encoder.to(device=device, dtype=dtype).eval()


def _factory(model_type: str, name: str) -> Factory:
    adapter = ADAPTERS.get(model_type)
    if adapter is None:
        raise ModelError(
            f"{name}: no adapter for model type {model_type!r}; there are {', '.join(sorted(ADAPTERS))}, and "
            "texvlm.encoders.register takes your own"
        )
    if not isinstance(adapter, str):
        return adapter
    module, attribute = adapter.split(":")
    factory: Factory = getattr(import_module(module), attribute)
    return factory


def _read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder, which names a model type."""
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: no such folder; texvlm downloads nothing, so fetch the model first, for instance with "
            "`hf download NAME --local-dir FOLDER`, and give that folder"
        )
    config = _read_json(folder / "config.json")
    if config is None:
        raise ModelError(f"{folder}: no config.json; give a folder as save_pretrained of transformers writes it")
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{folder / 'config.json'}: names no model_type; it is not a model's configuration")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder}: no *.safetensors; fetch the weights beside config.json")
    return config


def _read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None without the file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: holds no JSON object; fetch it again")
    return found


def _read_normalisation(folder: Path) -> tuple[list[float] | None, list[float] | None]:
    """Mean and standard deviation that the model was trained with, where the folder says so."""
    path = folder / "preprocessor_config.json"
    found = _read_json(path)
    if found is None:
        path = folder / "processor_config.json"
        found = (_read_json(path) or {}).get("image_processor") or {}
    mean, std = found.get("image_mean"), found.get("image_std")
    for name, numbers, least in (("image_mean", mean, -math.inf), ("image_std", std, 0.0)):
        if numbers is not None and not (
            isinstance(numbers, list) and all(is_finite(number) and number > least for number in numbers)
        ):
            above = " above 0" if least == 0 else ""
            raise ModelError(f"{path}: {name} is {numbers!r}; it needs one finite number{above} a channel")
    if found.get("do_normalize") is False:
        channels = len(mean or std or "rgb")
        return [0.0] * channels, [1.0] * channels
    return mean, std


def _read_model(folder: Path, dtype: torch.dtype | None) -> nn.Module:
    """The model of a folder, every weight of which was found and fits."""
    try:
        import transformers
    except ImportError as error:
        raise ModelError("transformers is not installed; pip install 'texvlm[hf]'") from error
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        named = [getattr(transformers, name, None) for name in config.architectures or ()]
        kind = next(filter(None, named), None) or transformers.AutoModel
        with _quiet_transformers():
            model, report = kind.from_pretrained(
                folder,
                local_files_only=True,
                dtype="auto" if dtype is None else dtype,
                ignore_mismatched_sizes=True,  # they are in the report, by name
                output_loading_info=True,
            )
    except Exception as error:  # transformers, safetensors and torch raise all kinds; none leaves anything open
        first = str(error).strip().splitlines()
        raise ModelError(f"{folder}: cannot be loaded ({first[0] if first else type(error).__name__})") from error
    if report["missing_keys"] and all(key.startswith("pooler.") for key in report["missing_keys"]):
        # weights that were trained without one, as DINO's: what a random one answers is worth nothing
        model.pooler, report["missing_keys"] = None, set()
    for kind_of, remedy in (("missing_keys", "are missing"), ("mismatched_keys", "do not fit the configuration")):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report[kind_of])
        if keys:
            raise ModelError(
                f"{folder}: {len(keys)} weights {remedy}, {keys[0]} among them; fetch the model's files again"
            )
    if left_out := _blocks_left_out(model, report["unexpected_keys"]):
        raise ModelError(
            f"{folder}: weights of blocks that the configuration does not have, {left_out[0]} among them; fetch the "
            "model's files again"
        )
    loaded: nn.Module = model
    return loaded


def _blocks_left_out(model: nn.Module, unexpected: Iterable[str]) -> list[str]:
    """Weights that nobody asked for, and that stand behind the last block of one of the model's stacks.

    Others may be left over: a classifier that the model has not, or buffers of older versions.
    """
    stacks = {name: len(module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    found = []
    for key in sorted(unexpected):
        parts = key.split(".")
        numbered = ((".".join(parts[:at]), int(part)) for at, part in enumerate(parts) if part.isdecimal())
        if any(number >= stacks.get(name, math.inf) for name, number in numbered):
            found.append(key)
    return found


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar and no table of keys on standard error: what is wrong goes into one error."""
    from transformers.utils import logging

    words: Any = logging  # its functions carry no types
    bar, verbosity = words.is_progress_bar_enabled(), words.get_verbosity()
    words.disable_progress_bar()
    words.set_verbosity_error()
    try:
        yield
    finally:
        words.set_verbosity(verbosity)
        if bar:
            words.enable_progress_bar()
