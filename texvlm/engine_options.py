"""What `Engine` is asked for, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from texvlm.backends.base import TOKEN_DTYPES, Backend, Normalisation
from texvlm.layouts import Layout
from texvlm.pyramid import ElementType, TextureSpec
from texvlm.residency import Wish

DEFAULT_THRESHOLD = 8 / 255
"""Of full scale. Below it lie the noise of most sensors and what a codec changes in a still scene."""


def check_options(
    *,
    sources: int,
    threshold: float,
    dtype: torch.dtype,
    layout: str | Layout,
    tokens: int | None,
    backend: str | Backend,
) -> None:
    """ValueError or TypeError for what is out of range or does not go together; names the value."""
    if sources < 1:
        raise ValueError(f"sources is {sources}; at least 1 is needed")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; accepted: 0 (bit-exact) to 1, a fraction of full scale")
    if dtype not in TOKEN_DTYPES:
        raise TypeError(f"dtype is {dtype}; accepted: {', '.join(map(str, TOKEN_DTYPES))}")
    if not isinstance(backend, str | Backend):
        raise TypeError(f"backend is {backend!r}; accepted: a name, such as 'auto', or an open Backend")
    if not isinstance(layout, str) and tokens is not None:
        raise ValueError(f"{layout} brings its own token count; leave out tokens={tokens}, or name a layout")


def device_of(device: torch.device | str | None) -> torch.device | None:
    """Where token tensors are wanted, None for anywhere; ValueError for where this torch can put none."""
    if device is None:
        return None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as refusal:  # torch raises either
        why = str(refusal).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used: {why}; accepted: a device of this torch") from refusal


def statistics_of(
    mean: Sequence[float] | None, std: Sequence[float] | None, dtype: torch.dtype
) -> Normalisation | None:
    """The normalisation of float tokens; None for none. ValueError for half of one, or one of bytes."""
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise ValueError("mean and std go together; give both or none")
    if dtype == torch.uint8:
        raise ValueError("uint8 tokens cannot be normalised; leave out mean and std, or ask for a float dtype")
    return Normalisation(tuple(mean), tuple(std))


def normalisation_for(spec: TextureSpec, wanted: Normalisation | None) -> Normalisation:
    """The wanted normalisation, none for no change; ValueError for one of other channels than the texture's."""
    if wanted is None:
        return Normalisation.identity(spec.channels)
    if len(wanted.mean) != spec.channels:
        raise ValueError(
            f"mean and std have {len(wanted.mean)} values for {spec.channels} channels; give one a channel"
        )
    return wanted


def wish_of(
    size: tuple[int, int] | TextureSpec | None, channels: int | None, pixel_dtype: ElementType | None, patch: int
) -> Wish:
    """The texture array that is wanted. ValueError or TypeError for one that cannot be."""
    if isinstance(size, TextureSpec):
        if (channels, pixel_dtype) != (None, None):
            raise ValueError("a TextureSpec says channels and element type; leave out channels and pixel_dtype")
        return Wish(size.size, size.channels, size.dtype, patch)
    # made only for its checks, before a backend is opened
    TextureSpec(
        (1, 1) if size is None else size,
        channels=3 if channels is None else channels,
        dtype="uint8" if pixel_dtype is None else pixel_dtype,
    )
    return Wish(size, channels, pixel_dtype, patch)
