"""Where to look: policies that turn what is known of a frame into fixations, or into a score map.

    Scene (resident mips, changed tiles, gaze, attention, time)  ->  LookPolicy  ->  Look  ->  Engine.tokens

A policy is one object for one source and sees its frames in order; `Looker` keeps one for each
source. `parse_look("saccades:of=saliency").make` gives those of `--look`; anything with `name`,
`count` and `look(scene)` is a policy, a learned patch selector too.

Evidence (what is worth a look) and choosing (what follows from it) are apart, so that each of the
one goes with each of the other. Rejected: one class for every pair; state that is handed in and
out of `look` (nobody's model works like that); policies that serve all sources (then a failure in one
source leaves the others in doubt).

Policies know coarse mips only: they read some thousand texels, and on a device that means one
small copy to the host in each frame that asks for it. Paths (`FixationPath`) know no frame at all.
"""

from __future__ import annotations

from texvlm.fixation.choosing import Fixed, Follow, FollowMap, PeakRegions, Peaks, Regions, Saccades, Several
from texvlm.fixation.evidence import Attention, Changes, Evidence, QueryRelevance, Saliency, Similarity
from texvlm.fixation.gaze_track import Coverage, GazeTrack
from texvlm.fixation.live_gaze import GazeFilter, LiveGaze, OneEuro
from texvlm.fixation.look import Look, LookArguments, LookPolicy, engine_arguments
from texvlm.fixation.looker import Looker
from texvlm.fixation.named import LOOKS, NamedLook, parse_look
from texvlm.fixation.paths import FixationPath, FixedFixation, MovingFixation, parse_fixation
from texvlm.fixation.pursuit import Pursuit
from texvlm.fixation.scene import GazePoint, GazeSample, Mips, Scene, scene_of
from texvlm.fixation.score_map import Peak, Region, ScoreMap, find_peaks, region_around, region_map, token_map
from texvlm.fixation.targets import ColourTarget, TemplateTarget

__all__ = [
    "LOOKS",
    "Attention",
    "Changes",
    "ColourTarget",
    "Coverage",
    "Evidence",
    "FixationPath",
    "Fixed",
    "FixedFixation",
    "Follow",
    "FollowMap",
    "GazeFilter",
    "GazePoint",
    "GazeSample",
    "GazeTrack",
    "LiveGaze",
    "Look",
    "LookArguments",
    "LookPolicy",
    "Looker",
    "Mips",
    "MovingFixation",
    "NamedLook",
    "OneEuro",
    "Peak",
    "PeakRegions",
    "Peaks",
    "Pursuit",
    "QueryRelevance",
    "Region",
    "Regions",
    "Saccades",
    "Saliency",
    "Scene",
    "ScoreMap",
    "Several",
    "Similarity",
    "TemplateTarget",
    "engine_arguments",
    "find_peaks",
    "parse_fixation",
    "parse_look",
    "region_around",
    "region_map",
    "scene_of",
    "token_map",
]
