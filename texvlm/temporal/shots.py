"""ShotWatch: cuts and flashes of the sources of a TemporalEncoder, told from small pictures of any origin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from numpy.typing import ArrayLike

from texvlm.temporal.cuts import CutDetector, CutSettings
from texvlm.temporal.settings import TemporalSettings
from texvlm.temporal.small_pictures import as_small_picture
from texvlm.temporal.token_pictures import TokenPicture
from texvlm.temporal.transitions import Transition
from texvlm.tokens import TokenBatch


class ShotWatch:
    """Tells what each frame is. One detector for each bar that is in use; a source has a history in one."""

    def __init__(self) -> None:
        self._detectors: dict[float, CutDetector] = {}
        self._bars: dict[int, float] = {}
        self._of_tokens: dict[int, TokenPicture] = {}

    def pictures(
        self,
        batch: TokenBatch,
        sources: Iterable[int],
        given: Mapping[int, ArrayLike],
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> dict[int, ArrayLike]:
        """A small picture for each of some sources of a batch.

        Raises:
            ValueError, TypeError: a picture that is not accepted.
        """
        found: dict[int, ArrayLike] = {}
        views = {source: view for view, source in enumerate(batch.sources.tolist())}
        for source in sources:
            if source in given:
                found[source] = as_small_picture(given[source]).colour
            elif batch.pixels.shape[2] in (1, 3, 4):
                picture = self._of_tokens.setdefault(source, TokenPicture())
                found[source] = picture(batch, views[source], mean=mean, std=std)
        return found

    def update(self, source: int, picture: ArrayLike, settings: TemporalSettings, time_s: float) -> Transition:
        """What the source's next frame is.

        Args:
            source: which source.
            picture: small, see as_small_picture.
            settings: of the source, with a bar for cuts.
            time_s: when it is shown; NaN where not known.
        """
        bar = settings.cut_bar
        if bar is None:
            return Transition("none", 0, 0)
        if self._bars.get(source, bar) != bar:
            self.reset(source)
        self._bars[source] = bar
        if bar not in self._detectors:
            self._detectors[bar] = CutDetector(CutSettings(bar=bar))
        return self._detectors[bar].update(picture, source, time_s=None if math.isnan(time_s) else time_s)

    def reset(self, source: int) -> None:
        """The source's next frame is its first one."""
        bar = self._bars.pop(source, None)
        if bar is not None:
            self._detectors[bar].reset(source)

    def forget(self, source: int) -> None:
        """Nothing of a source is kept."""
        self.reset(source)
        self._of_tokens.pop(source, None)
