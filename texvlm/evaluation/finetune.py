"""A short fine-tune: the encoder's last blocks and the probe, on the tokens of one method.

Every method gets the same frames in the same order, the same steps and the same optimiser; the head
starts as the probe trained on its frozen features. The encoder itself is copied and left as it is.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from texvlm.encoders import Encoder
from texvlm.engine import Engine
from texvlm.evaluation.foveation import (
    DENSE,
    Picture,
    Tell,
    as_share,
    collect,
    equal_time_tokens,
    frames_of,
    methods_of,
    token_count,
)
from texvlm.evaluation.methods import Method, box_means
from texvlm.evaluation.planted import PlantedFrame
from texvlm.evaluation.probe import Probe, share, train_probe
from texvlm.evaluation.report import FinetunePart, Origin, Tuned
from texvlm.evaluation.settings import FOV_DEG, REGION_DEG, EvalSettings
from texvlm.evaluation.store import FeatureStore
from texvlm.evaluation.targets import CLASSES
from texvlm.visual_field import VisualField

READOUT = "box means"
BLOCKS = 2
"""Last blocks that are trained, with the norm behind them."""

RATE, HEAD_RATE = 1e-4, 1e-3
"""Learning rates of AdamW for the blocks and for the head."""


def run_finetune(
    encoder: Encoder,
    settings: EvalSettings,
    store: FeatureStore,
    origin: Origin,
    photos: dict[str, Picture],
    *,
    tell: Tell,
) -> FinetunePart:
    """Measure; arguments as for `foveation.run_foveation`, photos are not used."""
    equal_time, _ = equal_time_tokens(encoder, settings, store)
    chosen = [m for m in methods_of(settings, encoder.patch, equal_time)
              if m.name in (f"quadtree {settings.tokens}", "equal-count uniform", DENSE)]  # fmt: skip
    train = collect(encoder, settings, store, chosen, "train", settings.train_frames, tell=tell)
    test = collect(encoder, settings, store, chosen, "test", settings.test_frames, tell=tell)
    truth, where = np.array(test.labels), np.array(test.frames)
    rows, parameters = [], 0
    for method in chosen:
        features = train.rows(method.name, READOUT)
        probe = train_probe(features, np.array(train.labels), np.array(train.frames), classes=len(CLASSES))
        frozen = probe.predict(test.rows(method.name, READOUT)) == truth
        start = time.perf_counter()
        tuned, head, losses = _tune(encoder, method, probe, settings, tell)
        seconds = time.perf_counter() - start
        parameters = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
        predicted = _predict(tuned, head, method, settings, tell)
        rows.append(
            Tuned(
                method=method.name,
                tokens=token_count(method.layout, settings.size),
                frozen=as_share(share(frozen, where, seed=settings.seed)),
                tuned=as_share(share(predicted == truth, where, seed=settings.seed)),
                losses=[round(loss, 4) for loss in losses],
                seconds=round(seconds, 1),
            )
        )
    return FinetunePart(
        origin=origin,
        readout=READOUT,
        blocks=BLOCKS,
        parameters=parameters,
        train_frames=min(settings.finetune_frames, settings.train_frames),
        epochs=settings.finetune_epochs,
        targets=len(truth),
        rows=rows,
    )


def trainable_part(encoder: Encoder) -> list[nn.Module]:
    """The last blocks of a model: of its longest list of modules.

    Raises:
        ValueError: it has no list of modules.
    """
    lists = [list(module) for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{encoder.name} has no list of blocks; leave the fine-tune out with --only")
    return max(lists, key=len)[-BLOCKS:]


def _tune(
    encoder: Encoder, method: Method, probe: Probe, settings: EvalSettings, tell: Tell
) -> tuple[Encoder, nn.Linear, list[float]]:
    """A trained copy of the encoder, its head, and the mean loss of each epoch."""
    tuned = copy.deepcopy(encoder).requires_grad_(False)
    blocks = trainable_part(tuned)
    for block in blocks:
        block.requires_grad_(True)
    head = _head_of(probe)
    groups = [
        {"params": [p for block in blocks for p in block.parameters()], "lr": RATE},
        {"params": list(head.parameters()), "lr": HEAD_RATE},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    count = min(settings.finetune_frames, settings.train_frames)
    losses = []
    for epoch in range(settings.finetune_epochs):
        spent = []
        for index, (frame, engine) in enumerate(_loaded(tuned, settings, "train", count)):
            tell(f"finetune: {method.name}, epoch {epoch + 1}", index, count)
            target = torch.tensor([target.label for target in frame.targets])
            loss = nn.functional.cross_entropy(head(_features(tuned, engine, method, frame)), target)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            spent.append(float(loss.detach()))
        losses.append(float(np.mean(spent)))
    return tuned, head, losses


def _predict(
    encoder: Encoder, head: nn.Linear, method: Method, settings: EvalSettings, tell: Tell
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Class of each target of the test split."""
    found = []
    with torch.inference_mode():
        for index, (frame, engine) in enumerate(_loaded(encoder, settings, "test", settings.test_frames)):
            tell(f"finetune: test, {method.name}", index, settings.test_frames)
            found.append(head(_features(encoder, engine, method, frame)).argmax(dim=1).numpy())
    return np.concatenate(found)


def _loaded(encoder: Encoder, settings: EvalSettings, split: str, count: int) -> Iterator[tuple[PlantedFrame, Engine]]:
    """Frames, and an engine that holds each of them."""
    with Engine(backend="cpu", patch=encoder.patch, mean=encoder.mean, std=encoder.std) as engine:
        for frame in frames_of(settings, split, count):
            engine.submit(frame.pixels)
            yield frame, engine


def _features(encoder: Encoder, engine: Engine, method: Method, frame: PlantedFrame) -> torch.Tensor:
    """Box means of each target, (targets, width); see methods.read_frame. Gradients go through."""
    centres = np.array([target.centre for target in frame.targets])
    if method.looks_everywhere:
        batch, places = engine.tokens(layout=method.layout), centres[None]
    else:
        batch, places = engine.tokens(centres / frame.size, sources=0, layout=method.layout), centres[:, None]
    tokens = encoder(batch).tokens
    field = VisualField(frame.size, FOV_DEG)
    radii: Sequence[float] = [float(field.radius_texels(degrees)) for degrees in REGION_DEG]
    return torch.cat([box_means(tokens, batch, places, radius) for radius in radii], dim=-1).flatten(0, 1)


def _head_of(probe: Probe) -> nn.Linear:
    """The probe as one linear layer on features that are not standardised."""
    head = nn.Linear(*probe.weights.shape)
    weights = probe.weights / probe.spread[:, None]
    with torch.no_grad():
        head.weight.copy_(weights.T)
        head.bias.copy_(probe.bias - probe.mean @ weights)
    return head
