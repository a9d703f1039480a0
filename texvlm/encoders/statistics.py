"""Normalisation that families of published models were trained with, for models that do not say it themselves."""

from __future__ import annotations

from collections.abc import Sequence

from texvlm.errors import ModelError

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) per channel, in units of full scale."""

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI_CLIP: Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF: Statistics = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def statistics_for(
    channels: int, *, mean: Sequence[float] | None, std: Sequence[float] | None, default: Statistics
) -> Statistics:
    """The given mean and std, else a family's own; 0.5 for a model of another channel count than the family's.

    Raises:
        ModelError: another number of them than channels.
    """
    own = default if channels == len(default[0]) else ((0.5,) * channels, (0.5,) * channels)
    found = own[0] if mean is None else tuple(mean), own[1] if std is None else tuple(std)
    if {len(numbers) for numbers in found} != {channels}:
        raise ModelError(
            f"mean {found[0]} and std {found[1]} for a model of {channels} channel{'s' * (channels != 1)}; give a "
            "number for each"
        )
    return found
