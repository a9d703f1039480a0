"""Checkpoints of heads and helpers: one safetensors file that says what it is and which encoder it is for.

The only module of this part that knows safetensors. A checkpoint of another kind or encoder is refused
before any of its numbers are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from texvlm.encoders import Encoder
from texvlm.errors import ModelError
from texvlm.files import write_whole
from texvlm.video_models.aggregation import FrameAggregation
from texvlm.video_models.delta import DeltaEncoder
from texvlm.video_models.importance import FrameImportance
from texvlm.video_models.recurrent import RecurrentHead
from texvlm.video_models.shift import ShiftHead

FORMAT, VERSION = "texvlm-video-model", 1

KINDS: dict[str, Callable[..., nn.Module]] = {
    "importance": FrameImportance,
    "delta": DeltaEncoder,
    "aggregation": FrameAggregation,
    "recurrent": RecurrentHead,
    "shift": ShiftHead,
}
"""What there are checkpoints of."""


def save_checkpoint(
    model: nn.Module, path: Path, *, encoder: Encoder, notes: Mapping[str, str | int] | None = None
) -> None:
    """Write a checkpoint; whole or not at all.

    Args:
        model: of one of KINDS.
        path: where to; an earlier file is replaced.
        encoder: what it was trained behind.
        notes: more to write into the file's metadata, such as the seed.
    Raises:
        TypeError: a model of no known kind.
        OSError: the folder cannot be written.
    """
    kind = next((name for name, made in KINDS.items() if type(model) is made), None)
    if kind is None:
        raise TypeError(f"a {type(model).__name__} has no checkpoints; accepted: {', '.join(KINDS)}")
    facts: dict[str, object] = {
        **(notes or {}),
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "options": model.options,
        **_facts(encoder),
    }
    tensors = {name: part.detach().cpu().contiguous() for name, part in model.state_dict().items()}
    # one key only: safetensors keeps no order among several, and equal weights must give equal bytes
    write_whole(path, safetensors.torch.save(tensors, metadata={"texvlm": json.dumps(facts, sort_keys=True)}))


def load_checkpoint(path: Path | str, *, kind: str, encoder: Encoder) -> nn.Module:
    """A model from its checkpoint, in evaluation mode, on the encoder's device.

    Args:
        path: the file.
        kind: what is wanted, of KINDS.
        encoder: what it will stand behind. One in another element type than the checkpoint's is told by
            name and sizes alone, else by its weights, too.
    Raises:
        ModelError: no such file, no checkpoint, or one of another version, kind or encoder.
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; accepted: {', '.join(KINDS)}")
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file; texvlm train {kind} CLIP --model DIR --out {path.name} makes one")
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get("texvlm", "null")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors ({error}); train it again") from error
    facts = _read(said)
    if facts.get("format") != FORMAT:
        raise ModelError(f"{path}: no checkpoint of texvlm's; give what texvlm train wrote")
    for name, wanted in (("version", VERSION), ("kind", kind)):
        if facts.get(name) != wanted:
            raise ModelError(f"{path}: its {name} is {facts.get(name)!r}, {wanted!r} is wanted; train one that fits")
    _check_encoder(path, facts, encoder)
    try:
        with torch.device("meta"):  # nothing is allocated for what the file merely claims
            model = KINDS[kind](**facts["options"])
        model.load_state_dict(tensors, assign=True)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"{path}: its weights do not fit what it says of itself ({first}); train it again") from error
    return model.to(encoder.device).eval()


def _read(text: str) -> dict[str, Any]:
    """What the file says of itself; empty where that is no record."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _facts(encoder: Encoder) -> dict[str, str | int]:
    """What tells an encoder from another one."""
    digest = hashlib.sha256()
    for name, weights in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return {
        "encoder": encoder.name,
        "width": encoder.width,
        "patch": encoder.patch,
        "channels": len(encoder.mean),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "encoder_sha256": digest.hexdigest(),
    }


def _check_encoder(path: Path, facts: Mapping[str, Any], encoder: Encoder) -> None:
    """ModelError unless a checkpoint was made for this encoder."""
    own = _facts(encoder)
    names = ["width", "patch", "channels", "encoder"]
    if facts.get("dtype") == own["dtype"]:  # the same weights in another type have other bits
        names.append("encoder_sha256")
    for name in names:
        if facts.get(name) != own[name]:
            what = "weights of the encoder" if name == "encoder_sha256" else name
            seen, wanted = (str(each.get(name))[:16] for each in (facts, own))
            raise ModelError(
                f"{path}: made for another encoder ({what}: {seen}; of {encoder.name}: {wanted}); train one for this"
            )
