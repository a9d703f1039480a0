"""Where the eyes look, as OpenXR tells it: XR_EXT_eye_gaze_interaction, or straight ahead where there is none."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from texvlm.gaze import UPRIGHT, Eye, FovProjector, GazeSample, Pose, project
from texvlm.xr.calls import calling, check
from texvlm.xr.eye_frame import XR_CLOCK

EXTENSION = "XR_EXT_eye_gaze_interaction"
PROFILE = "/interaction_profiles/ext/eye_gaze_interaction"
GAZE_PATH = "/user/eyes_ext/input/gaze_ext/pose"


@dataclass(frozen=True, slots=True)
class GazeRay:
    """One gaze of both eyes.

    Attributes:
        time_ns: when the eyes looked there, on XR_CLOCK; None where the runtime does not say, as in a blink.
        pose: in the head (VIEW space); its -z axis is the gaze. None in a blink, or when the tracker lost the eyes.
    """

    time_ns: int | None
    pose: Pose | None


class EyeTracker:
    """The action that gives the gaze. One for a session, made before the session begins.

    Raises:
        DeviceCallError: the runtime refuses it.
    """

    def __init__(self, xr: Any, instance: Any, session: Any) -> None:
        self._xr, self._session = xr, session
        with calling(xr, "asking for the gaze"):
            self._set = xr.create_action_set(
                instance, xr.ActionSetCreateInfo(action_set_name="texvlm", localized_action_set_name="texvlm")
            )
            self._action = xr.create_action(
                self._set,
                xr.ActionCreateInfo(
                    action_name="gaze", action_type=xr.ActionType.POSE_INPUT, localized_action_name="Gaze"
                ),
            )
            path = xr.string_to_path(instance, GAZE_PATH)
            suggested = [xr.ActionSuggestedBinding(action=self._action, binding=path)]
            profile = xr.string_to_path(instance, PROFILE)
            xr.suggest_interaction_profile_bindings(
                instance,
                xr.InteractionProfileSuggestedBinding(interaction_profile=profile, suggested_bindings=suggested),
            )
            xr.attach_session_action_sets(session, xr.SessionActionSetsAttachInfo(action_sets=[self._set]))
            self._space = xr.create_action_space(session, xr.ActionSpaceCreateInfo(action=self._action))

    def ray(self, head: Any, time_ns: int) -> GazeRay | None:
        """The gaze for a frame shown at a time; None while another application has the focus.

        Args:
            head: the VIEW space.
            time_ns: when the frame is shown, XrTime.
        """
        xr = self._xr
        with calling(xr, "reading the gaze"):
            try:
                active = xr.ActiveActionSet(action_set=self._set, subaction_path=0)
                xr.sync_actions(self._session, xr.ActionsSyncInfo(active_action_sets=[active]))
            except xr.SessionNotFocused:
                return None
            measured = xr.EyeGazeSampleTimeEXT()
            found = xr.SpaceLocation(next=ctypes.cast(ctypes.pointer(measured), ctypes.c_void_p))
            check(xr, xr.raw_functions.xrLocateSpace(self._space, head, time_ns, ctypes.byref(found)))
        known = int(found.location_flags) & int(xr.SpaceLocationFlags.ORIENTATION_VALID_BIT)
        if not known:
            return GazeRay(measured.time or None, None)
        return GazeRay(measured.time or time_ns, pose_of(found.pose))

    def close(self) -> None:
        """Give it back; the session still lives."""
        xr = self._xr
        xr.destroy_space(self._space)
        xr.destroy_action(self._action)
        xr.destroy_action_set(self._set)


class GazeOfFrames:
    """Samples for each eye's picture, of one ray for both; remembers the time of the last one.

    Args:
        distance_m: how far away what is looked at lies: the ray of both eyes starts between them.
    """

    def __init__(self, distance_m: float = math.inf) -> None:
        self._distance_m = distance_m
        self._last_ns: int | None = None

    def samples(self, ray: GazeRay | None, eyes: Sequence[tuple[Eye, FovProjector, Pose]]) -> tuple[GazeSample, ...]:
        """One sample for each eye; none where the ray is no newer than the last.

        Args:
            ray: in the head.
            eyes: for each its name, field of view and pose in the head.
        """
        if ray is None:
            return ()
        time_ns = ray.time_ns
        if time_ns is None:  # lost since the last sample; what comes next must not lie before it
            if self._last_ns is None:
                return ()
            time_ns = self._last_ns + 1
        if self._last_ns is not None and time_ns <= self._last_ns:
            return ()
        self._last_ns = time_ns
        samples = []
        for eye, fov, in_head in eyes:
            point = None
            if ray.pose is not None:
                point = project(fov, in_head.direction_of(ray.pose, distance_m=self._distance_m))
            samples.append(GazeSample(time_ns, point=point, clock=XR_CLOCK, valid=point is not None, eye=eye))
        return tuple(samples)


def straight_ahead(time_ns: int) -> GazeRay:
    """The gaze of a head whose eyes are not tracked."""
    return GazeRay(time_ns, UPRIGHT)


def pose_of(pose: Any) -> Pose:
    """An XrPosef as a Pose."""
    q, p = pose.orientation, pose.position
    return Pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
