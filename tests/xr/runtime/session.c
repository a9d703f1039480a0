// The session: its states, the frame loop, spaces and views.
#include <dlfcn.h>
#include <string.h>

#include "runtime.h"

XrResult xrCreateSession(XrInstance instance, XrSessionCreateInfo* info, XrSession* session) {
    if (!runtime.requirements_asked) return XR_ERROR_GRAPHICS_REQUIREMENTS_CALL_MISSING;
    void* (*address_of)(const char*) = NULL;
    for (XrBaseInStructure* next = info->next; next; next = next->next) {
        if (next->type == XR_TYPE_GRAPHICS_BINDING_EGL_MNDX && enabled("XR_MNDX_egl_enable")) {
            XrGraphicsBindingEGLMNDX* b = (void*)next;
            if (b->display && b->config && b->context) address_of = b->getProcAddress, note("binding egl");
        }
        if (next->type == XR_TYPE_GRAPHICS_BINDING_OPENGL_XLIB_KHR && enabled("XR_KHR_opengl_enable")) {
            XrGraphicsBindingOpenGLXlibKHR* b = (void*)next;
            void* library = dlopen("libGL.so.1", RTLD_LAZY);
            if (b->xDisplay && b->glxFbconfig && b->glxDrawable && b->glxContext && b->visualid && library)
                address_of = dlsym(library, "glXGetProcAddressARB"), note("binding xlib");
        }
    }
    if (!address_of || !load_gl(address_of)) return XR_ERROR_GRAPHICS_DEVICE_INVALID;
    *session = runtime.session = new_object(SESSION);
    change_state(XR_SESSION_STATE_IDLE);
    change_state(XR_SESSION_STATE_READY);
    return XR_SUCCESS;
}

XrResult xrDestroySession(XrSession session) { return drop_object(session, SESSION); }

XrResult xrBeginSession(XrSession session, XrSessionBeginInfo* info) {
    if (runtime.running) return XR_ERROR_SESSION_RUNNING;
    if (runtime.state != XR_SESSION_STATE_READY) return XR_ERROR_SESSION_NOT_READY;
    runtime.running = 1;
    change_state(XR_SESSION_STATE_SYNCHRONIZED);
    change_state(XR_SESSION_STATE_VISIBLE);
    change_state(XR_SESSION_STATE_FOCUSED);
    return XR_SUCCESS;
}

XrResult xrEndSession(XrSession session) {
    if (!runtime.running) return XR_ERROR_SESSION_NOT_RUNNING;
    if (runtime.state != XR_SESSION_STATE_STOPPING) return XR_ERROR_SESSION_NOT_STOPPING;
    runtime.running = 0;
    change_state(XR_SESSION_STATE_IDLE);
    change_state(XR_SESSION_STATE_EXITING);
    return XR_SUCCESS;
}

static void stop(void) {
    change_state(XR_SESSION_STATE_SYNCHRONIZED);
    change_state(XR_SESSION_STATE_STOPPING);
}

XrResult xrRequestExitSession(XrSession session) {
    if (!runtime.running) return XR_ERROR_SESSION_NOT_RUNNING;
    return stop(), XR_SUCCESS;
}

XrResult xrWaitFrame(XrSession session, XrFrameWaitInfo* info, XrFrameState* state) {
    Script* script = &runtime.script;
    if (!runtime.running) return XR_ERROR_SESSION_NOT_RUNNING;
    if (runtime.waited) return XR_ERROR_CALL_ORDER_INVALID;  // a real one would block here for ever
    runtime.frame++;
    if (runtime.frame == script->fail_frame) return script->fail_result;
    if (runtime.frame == script->stop_frame) stop();
    if (runtime.frame == script->lose_session_frame) change_state(XR_SESSION_STATE_LOSS_PENDING);
    if (runtime.frame == script->lose_instance_frame) lose_instance();
    runtime.waited = 1;
    state->predictedDisplayTime = display_time();
    state->predictedDisplayPeriod = PERIOD_NS;
    state->shouldRender = runtime.frame != script->hide_frame;
    return XR_SUCCESS;
}

XrResult xrBeginFrame(XrSession session, XrFrameBeginInfo* info) {
    if (!runtime.waited) return XR_ERROR_CALL_ORDER_INVALID;
    int discarded = runtime.begun;
    runtime.waited = 0, runtime.begun = 1;
    return discarded ? XR_FRAME_DISCARDED : XR_SUCCESS;
}

// Where a space is in the room.
static XrPosef placed(XrSpace space) {
    Object* object = (Object*)space;
    const Gaze* gaze = gaze_now();
    if (object->place == XR_REFERENCE_SPACE_TYPE_VIEW) return runtime.script.head;
    if (object->place == 0 && gaze) return times(runtime.script.head, turned(gaze->yaw, gaze->pitch));
    return (XrPosef){{0, 0, 0, 1}, {0, 0, 0}};
}

XrResult xrEndFrame(XrSession session, XrFrameEndInfo* info) {
    if (!runtime.begun) return XR_ERROR_CALL_ORDER_INVALID;
    if (info->displayTime != display_time()) return XR_ERROR_TIME_INVALID;
    runtime.begun = 0;
    for (uint32_t i = 0; i < info->layerCount; i++) {
        XrCompositionLayerProjection* layer = (void*)info->layers[i];
        if (layer->type != XR_TYPE_COMPOSITION_LAYER_PROJECTION || layer->viewCount != 2) return XR_ERROR_LAYER_INVALID;
        for (int eye = 0; eye < 2; eye++) {
            XrPosef here = times(inverse(placed(layer->space)), times(runtime.script.head, runtime.script.eyes[eye]));
            if (!same_pose(here, layer->views[eye].pose)) return XR_ERROR_POSE_INVALID;
            if (memcmp(&layer->views[eye].fov, &runtime.script.fov[eye], sizeof(XrFovf))) return XR_ERROR_LAYER_INVALID;
            XrResult result = show(&layer->views[eye], eye);
            if (result != XR_SUCCESS) return result;
        }
    }
    note("frame %d: %u layers", runtime.frame, info->layerCount);
    return XR_SUCCESS;
}

XrResult xrCreateReferenceSpace(XrSession session, XrReferenceSpaceCreateInfo* info, XrSpace* space) {
    int kind = info->referenceSpaceType;
    if (kind != XR_REFERENCE_SPACE_TYPE_VIEW && kind != XR_REFERENCE_SPACE_TYPE_LOCAL)
        return XR_ERROR_REFERENCE_SPACE_UNSUPPORTED;
    *space = new_object(SPACE);
    ((Object*)*space)->place = kind;
    return XR_SUCCESS;
}

XrResult xrDestroySpace(XrSpace space) { return drop_object(space, SPACE); }

XrResult xrLocateSpace(XrSpace space, XrSpace base, int64_t time, XrSpaceLocation* location) {
    const Gaze* gaze = gaze_now();
    int of_gaze = ((Object*)space)->place == 0, lost = of_gaze && (!gaze || gaze->lost || !runtime.synced);
    location->locationFlags = lost ? 0
                                   : XR_SPACE_LOCATION_ORIENTATION_VALID_BIT | XR_SPACE_LOCATION_POSITION_VALID_BIT |
                                         XR_SPACE_LOCATION_ORIENTATION_TRACKED_BIT | XR_SPACE_LOCATION_POSITION_TRACKED_BIT;
    if (!lost) location->pose = times(inverse(placed(base)), placed(space));
    for (XrBaseInStructure* next = location->next; next; next = next->next)
        if (next->type == XR_TYPE_EYE_GAZE_SAMPLE_TIME_EXT)
            ((XrEyeGazeSampleTimeEXT*)next)->time = lost || !of_gaze ? 0 : time - SAMPLED_BEFORE_NS;
    return XR_SUCCESS;
}

XrResult xrLocateViews(XrSession session, XrViewLocateInfo* info, XrViewState* state, uint32_t capacity, uint32_t* count,
                       XrView* out) {
    XrView views[2];
    for (int eye = 0; eye < 2; eye++) {
        XrPosef pose = times(inverse(placed(info->space)), times(runtime.script.head, runtime.script.eyes[eye]));
        views[eye] = (XrView){XR_TYPE_VIEW, NULL, pose, runtime.script.fov[eye]};
    }
    state->viewStateFlags = XR_VIEW_STATE_ORIENTATION_VALID_BIT | XR_VIEW_STATE_POSITION_VALID_BIT;
    return fill(views, sizeof *views, 2, capacity, count, out);
}
