"""The encode job: a source, a place to look, an engine, and maybe a model, into a folder.

    open_source -> submit -> tokens -> [encoder] -> TokenWriter      frame by frame, memory flat
                      |         |
                      +---------+--> draw_sheet -> preview video, still picture   (where asked for)

`encode` runs it from an `EncodeSettings` and answers with an `EncodeReport`. It prints nothing.
"""

from __future__ import annotations

from texvlm.encode.job import Progress, encode
from texvlm.encode.report import EncodeReport
from texvlm.encode.settings import EncodeSettings, FeatureSettings

__all__ = ["EncodeReport", "EncodeSettings", "FeatureSettings", "Progress", "encode"]
