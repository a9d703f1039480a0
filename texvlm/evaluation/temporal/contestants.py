"""The contestants of `texvlm eval temporal`, by name: texvlm's own and its peers."""

from __future__ import annotations

from texvlm.evaluation.temporal.methods import Methods
from texvlm.evaluation.temporal.own import OWN
from texvlm.evaluation.temporal.peers import PEERS

CONTESTANTS: Methods = {**OWN, **PEERS}
