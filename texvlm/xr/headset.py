"""Headset: a session of an OpenXR runtime on the OpenGL context of the application."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Literal

from texvlm.errors import ClosedError, HeadsetLost, HeadsetUnavailable
from texvlm.gaze import Eye, FovProjector
from texvlm.xr.calls import OPENING, calling, check, load_xr, quiet_loader
from texvlm.xr.current_gl import CurrentGl
from texvlm.xr.eye_frame import EyeBuffer, HeadsetFrame
from texvlm.xr.eye_gaze import EXTENSION, EyeTracker, GazeOfFrames, pose_of, straight_ahead
from texvlm.xr.eye_images import Arrangement, EyeImages

EYES: tuple[Eye, Eye] = ("left", "right")
CLOCK_EXTENSION = "XR_KHR_convert_timespec_time"
IDLE_S = 0.01
"""How often a session that is not running asks what has happened."""


class Headset:
    """A headset, opened with the application's OpenGL context current on this thread, where all calls belong.

        with Headset() as headset, EyeTokens(headset) as tokens:
            for frame in headset.frames():
                for eye in frame.eyes:
                    draw(eye.framebuffer, eye.viewport, eye.fov, eye.pose)
                batch = tokens.take(frame)

    Args:
        name: of the application, for the runtime.
        arrangement: how the eyes' pictures lie in a texture.
        size: (width, height) of one eye's picture; None for what the runtime recommends.
        eye_tracking: ask for the eyes' gaze, where the headset can tell it. It is personal: ask the wearer first.
        distance_m: see GazeOfFrames.
    Attributes:
        gaze_of: "eyes", or "head" where their gaze is not known: straight ahead.
        images: the eyes' textures.
        runtime_name, system_name: what they call themselves.
    Raises:
        HeadsetUnavailable: no binding, runtime, headset or context; the runtime does not take such contexts.
        DeviceCallError: the runtime refuses a call.
    Source:
        The OpenXR Specification 1.0, Khronos; XR_KHR_opengl_enable, XR_MNDX_egl_enable, XR_EXT_eye_gaze_interaction.
    """

    def __init__(
        self,
        name: str = "texvlm",
        *,
        arrangement: Arrangement = "layers",
        size: tuple[int, int] | None = None,
        eye_tracking: bool = True,
        distance_m: float = math.inf,
    ) -> None:
        self._xr = xr = load_xr()
        self._gl = CurrentGl()
        self._gaze = GazeOfFrames(distance_m)
        self._running = self._exiting = self._closed = False
        self._number = 0
        with ExitStack() as opened:
            extensions = self._extensions(eye_tracking)
            self._open_instance(name, extensions)
            opened.callback(xr.destroy_instance, self._instance)
            self._open_session(EXTENSION in extensions)
            opened.callback(xr.destroy_session, self._session)
            self._room = self._space(xr.ReferenceSpaceType.LOCAL)
            opened.callback(xr.destroy_space, self._room)
            self._head = self._space(xr.ReferenceSpaceType.VIEW)
            opened.callback(xr.destroy_space, self._head)
            self._tracker = EyeTracker(xr, self._instance, self._session) if self.gaze_of == "eyes" else None
            if self._tracker is not None:
                opened.callback(self._tracker.close)
            self.images = EyeImages(xr, self._session, self._gl, size or self._recommended(), arrangement)
            opened.callback(self.images.close)
            self._opened = opened.pop_all()

    # ------------------------------------------------------------------ frames

    def frames(self) -> Iterator[HeadsetFrame]:
        """Frames to draw, at the pace of the headset, until the wearer or `stop` ends the session.

        What was drawn into a frame's pictures is shown when the next one is asked for. Frames that nobody would see
        (the headset is not worn, another application covers this one) are left out.

        Raises:
            HeadsetLost: the session or the runtime went away.
            DeviceCallError: the runtime refuses a call.
        """
        while True:
            if self._closed:
                raise ClosedError("this headset is closed; open another one")
            self._take_events()
            if self._exiting:
                return
            if not self._running:
                time.sleep(IDLE_S)
                continue
            state = self._begin_frame()
            frame = self._frame(state) if state.should_render else None
            shown = False
            try:
                if frame is not None:
                    yield frame
                    shown = True
            finally:
                if not self._closed:
                    self._end_frame(state, frame, shown=shown)

    def stop(self) -> None:
        """Ask the runtime to end the session: `frames` comes to its end."""
        with calling(self._xr, "ending the session"):
            self._xr.request_exit_session(self._session)

    def monotonic_offset_ns(self, time_ns: int) -> int:
        """What to add to times of this headset to get those of `time.monotonic_ns`, as it was at a time of a frame.

        Raises:
            HeadsetUnavailable: the runtime cannot tell.
        """
        if CLOCK_EXTENSION not in self._extensions_in_use:
            raise HeadsetUnavailable(
                f"the OpenXR runtime has no {CLOCK_EXTENSION}, so how its clock lies to others is not known; "
                'keep to the clock "openxr"'
            )
        with calling(self._xr, "asking for its clock"):
            there = self._xr.convert_time_to_timespec_time_khr(self._instance, time_ns)
        return int(there.tv_sec) * 1_000_000_000 + int(there.tv_nsec) - time_ns

    def close(self) -> None:
        """End the session and give everything back; with the context current that it was opened on."""
        if not self._closed:
            self._closed = True
            with suppress(self._xr.XrException):  # what is lost already cannot be given back
                self._opened.close()

    def __enter__(self) -> Headset:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See close."""
        self.close()

    # ------------------------------------------------------------------ opening

    def _extensions(self, eye_tracking: bool) -> list[str]:
        xr, graphics = self._xr, self._gl.extension
        with quiet_loader(), calling(xr, OPENING):
            offered = {p.extension_name.decode() for p in xr.enumerate_instance_extension_properties()}
        needed = ["XR_KHR_opengl_enable", *([graphics] if graphics else [])]
        for extension in needed:
            if extension not in offered:
                other = "a context of GLX (a window under X11)" if extension == graphics else "another runtime"
                raise HeadsetUnavailable(
                    f"the OpenXR runtime has no {extension}, which this context needs; use {other}"
                )
        wished = [CLOCK_EXTENSION, *([EXTENSION] if eye_tracking else [])]
        self._extensions_in_use = needed + [extension for extension in wished if extension in offered]
        return self._extensions_in_use

    def _open_instance(self, name: str, extensions: list[str]) -> None:
        xr = self._xr
        application = xr.ApplicationInfo(
            application_name=name, engine_name="texvlm", api_version=xr.Version(1, 0, 0)
        )  # 1.0: everything here is in it, and runtimes that know 1.1 take it
        with quiet_loader(), calling(xr, OPENING):
            self._instance = xr.create_instance(
                xr.InstanceCreateInfo(application_info=application, enabled_extension_names=extensions)
            )
            self.runtime_name = xr.get_instance_properties(self._instance).runtime_name.decode()

    def _open_session(self, may_track: bool) -> None:
        xr = self._xr
        eyes = xr.SystemEyeGazeInteractionPropertiesEXT()
        about = xr.SystemProperties(next=ctypes.cast(ctypes.pointer(eyes), ctypes.c_void_p) if may_track else None)
        with calling(xr, "opening a session"):
            self._system = xr.get_system(self._instance, xr.SystemGetInfo())
            check(xr, xr.raw_functions.xrGetSystemProperties(self._instance, self._system, ctypes.byref(about)))
            # a duty before sessions; the binding's own wrapper of it loads on Windows alone
            requirements = xr.get_instance_proc_addr(self._instance, "xrGetOpenGLGraphicsRequirementsKHR")
            ask = ctypes.cast(requirements, xr.PFN_xrGetOpenGLGraphicsRequirementsKHR)
            check(xr, ask(self._instance, self._system, ctypes.byref(xr.GraphicsRequirementsOpenGLKHR())))
            binding = self._gl.binding(xr)
            wanted = xr.SessionCreateInfo(
                system_id=self._system, next=ctypes.cast(ctypes.pointer(binding), ctypes.c_void_p)
            )
            self._session = xr.create_session(self._instance, wanted)
        self.system_name = about.system_name.decode()
        self.gaze_of: Literal["eyes", "head"] = "eyes" if eyes.supports_eye_gaze_interaction else "head"

    def _space(self, kind: Any) -> Any:
        with calling(self._xr, "opening a session"):
            return self._xr.create_reference_space(
                self._session, self._xr.ReferenceSpaceCreateInfo(reference_space_type=kind)
            )

    def _recommended(self) -> tuple[int, int]:
        stereo = self._xr.ViewConfigurationType.PRIMARY_STEREO
        with calling(self._xr, "asking for the size of the eyes' pictures"):
            views = self._xr.enumerate_view_configuration_views(self._instance, self._system, stereo)
        return (
            max(view.recommended_image_rect_width for view in views),
            max(view.recommended_image_rect_height for view in views),
        )

    # ------------------------------------------------------------------ the session

    def _take_events(self) -> None:
        xr, kinds = self._xr, self._xr.StructureType
        while True:
            with calling(xr, "asking for events"):
                try:
                    event = xr.poll_event(self._instance)
                except xr.EventUnavailable:
                    return
            kind = ctypes.c_int.from_buffer(event).value  # events of extensions may have kinds that the binding lacks
            if kind == kinds.EVENT_DATA_INSTANCE_LOSS_PENDING:
                raise HeadsetLost("the OpenXR runtime is going away; open the headset anew once it is back")
            if kind == kinds.EVENT_DATA_SESSION_STATE_CHANGED:
                self._change_state(xr.EventDataSessionStateChanged.from_buffer(event).state)

    def _change_state(self, state: Any) -> None:
        xr, states = self._xr, self._xr.SessionState
        if state == states.READY:
            stereo = xr.ViewConfigurationType.PRIMARY_STEREO
            with calling(xr, "beginning the session"):
                xr.begin_session(self._session, xr.SessionBeginInfo(primary_view_configuration_type=stereo))
            self._running = True
        elif state == states.STOPPING:
            self._running = False
            with calling(xr, "ending the session"):
                xr.end_session(self._session)
        elif state == states.EXITING:
            self._exiting = True
        elif state == states.LOSS_PENDING:
            raise HeadsetLost("the headset's session is being lost; open the headset anew once it is back")

    def _begin_frame(self) -> Any:
        xr = self._xr
        with calling(xr, "waiting for the next frame"):
            state = xr.wait_frame(self._session, xr.FrameWaitInfo())
            with suppress(xr.FrameDiscarded):  # the one before was never ended: it is begun all the same
                xr.begin_frame(self._session, xr.FrameBeginInfo())
        return state

    def _views(self, space: Any, time_ns: int) -> list[Any] | None:
        """The eyes in a space, XrView; None where the runtime does not know."""
        xr = self._xr
        with calling(xr, "asking where the eyes are"):
            state, views = xr.locate_views(self._session, xr.ViewLocateInfo(display_time=time_ns, space=space))
        needed = int(xr.ViewStateFlags.ORIENTATION_VALID_BIT | xr.ViewStateFlags.POSITION_VALID_BIT)
        return list(views) if int(state.view_state_flags) & needed == needed else None

    def _frame(self, state: Any) -> HeadsetFrame | None:
        time_ns = int(state.predicted_display_time)
        in_room, in_head = self._views(self._room, time_ns), self._views(self._head, time_ns)
        if in_room is None or in_head is None:
            return None
        self._shown_from = in_room
        ray = straight_ahead(time_ns) if self._tracker is None else self._tracker.ray(self._head, time_ns)
        fovs = [FovProjector(v.fov.angle_left, v.fov.angle_right, v.fov.angle_up, v.fov.angle_down) for v in in_room]
        heads = [pose_of(view.pose) for view in in_head]
        gaze = self._gaze.samples(ray, list(zip(EYES, fovs, heads, strict=True)))
        image, images = self.images.acquire(), self.images  # last, so that nothing is held when one of the others fails
        eyes = []
        for k, place in enumerate(images.places):
            where = (images.textures[image], images.target, place.layer, place.corner, images.framebuffers[image][k])
            eyes.append(EyeBuffer(EYES[k], images.size, *where, fovs[k], pose_of(in_room[k].pose), heads[k]))
        self._number += 1
        left, right = eyes
        period = int(state.predicted_display_period)
        return HeadsetFrame(self._number - 1, time_ns, period, image, (left, right), gaze)

    def _end_frame(self, state: Any, frame: HeadsetFrame | None, *, shown: bool) -> None:
        xr, layers = self._xr, []
        if frame is not None:
            self.images.release()
        if frame is not None and shown:
            views = []
            for eye, view in zip(frame.eyes, self._shown_from, strict=True):
                rectangle = xr.Rect2Di(offset=xr.Offset2Di(*eye.corner), extent=xr.Extent2Di(*eye.size))
                part = xr.SwapchainSubImage(
                    swapchain=self.images.swapchain, image_rect=rectangle, image_array_index=eye.layer
                )
                views.append(xr.CompositionLayerProjectionView(pose=view.pose, fov=view.fov, sub_image=part))
            layer = xr.CompositionLayerProjection(space=self._room, views=views)
            layers.append(ctypes.cast(ctypes.pointer(layer), ctypes.POINTER(xr.CompositionLayerBaseHeader)))
        with calling(xr, "showing a frame"):
            xr.end_frame(
                self._session,
                xr.FrameEndInfo(
                    display_time=state.predicted_display_time,
                    environment_blend_mode=xr.EnvironmentBlendMode.OPAQUE,
                    layers=layers,
                ),
            )
