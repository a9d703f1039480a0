"""Quality over time: what a sequence of features or pictures does that its content did not.

consistency   how much a value changes along the motion of its content
flicker       at which frequency values swing that their content does not explain, and how strongly
ghosting      what was there before and is still in the output
staleness     ages and deviations as reported, checked against pixels from outside

One meter for one sequence: `update` with each frame, `report` at any time, `reset` on a cut. NumPy arrays and
torch tensors alike; memory is bounded by a window, never by the length of the sequence. Measuring needs
what serving does not have (the full forward, every frame's pixels): meters are for tests, tuning and audits.
"""

from __future__ import annotations

from texvlm.temporal.quality.consistency import Consistency, ConsistencyMeter
from texvlm.temporal.quality.flicker import Flicker, FlickerMeter
from texvlm.temporal.quality.ghosting import Ghosting, GhostMeter
from texvlm.temporal.quality.staleness import Staleness, StalenessMeter

__all__ = [
    "Consistency",
    "ConsistencyMeter",
    "Flicker",
    "FlickerMeter",
    "GhostMeter",
    "Ghosting",
    "Staleness",
    "StalenessMeter",
]
