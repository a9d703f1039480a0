"""Looking at what an encoder sees: a source played, a fixation moved, and the pictures of it.

    source -> Player -> ViewSession -> Shown -> a window (viewer.native) or whatever else draws
                            ^
              pointer, look policy, settings

`ViewSession` has no window: it plays the source, keeps the engine, moves the fixation and counts. What
draws holds one session, calls `advance` until something is new, draws `Shown`, and says `presented`.
"""

from texvlm.viewer.modes import PictureMode
from texvlm.viewer.player import Player
from texvlm.viewer.session import ViewSession
from texvlm.viewer.settings import ViewSettings
from texvlm.viewer.shown import Shown, ViewStatistics

__all__ = ["PictureMode", "Player", "Shown", "ViewSession", "ViewSettings", "ViewStatistics"]
