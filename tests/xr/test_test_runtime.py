"""The test runtime is strict: what a real runtime refuses, it refuses."""

from __future__ import annotations

import pytest

from texvlm.errors import DeviceCallError
from texvlm.xr import Headset
from texvlm.xr.calls import load_xr

pytestmark = pytest.mark.gl


def test_calls_in_the_wrong_order_are_refused(rig, app):
    xr = load_xr()
    with Headset() as headset:
        with pytest.raises(xr.SessionNotRunningError):
            xr.wait_frame(headset._session, xr.FrameWaitInfo())
        next(headset.frames())
        with pytest.raises(xr.CallOrderInvalidError):
            xr.begin_frame(headset._session, xr.FrameBeginInfo())
        with pytest.raises(xr.CallOrderInvalidError):
            xr.release_swapchain_image(headset.images.swapchain, xr.SwapchainImageReleaseInfo())
        with pytest.raises(xr.SessionRunningError):
            xr.begin_session(headset._session, xr.SessionBeginInfo())


def test_a_layer_from_where_the_eyes_are_not_is_refused(rig, app):
    with Headset() as headset:
        frames = headset.frames()
        next(frames)
        headset._shown_from[0].pose.position.x += 1
        with pytest.raises(DeviceCallError, match="OpenXR failed while showing a frame: PoseInvalidError"):
            next(frames)


def test_an_extension_that_is_not_offered_is_refused(rig):
    xr = load_xr()
    rig.script("extensions XR_KHR_opengl_enable")
    wanted = xr.InstanceCreateInfo(
        application_info=xr.ApplicationInfo(api_version=xr.Version(1, 0, 0)),
        enabled_extension_names=["XR_EXT_eye_gaze_interaction"],
    )
    with pytest.raises(xr.ExtensionNotPresentError):
        xr.create_instance(wanted)
    rig.unload()
