// Actions: one pose, of the eyes' gaze, bound as XR_EXT_eye_gaze_interaction has it.
#include <string.h>

#include "runtime.h"

XrResult xrCreateActionSet(XrInstance instance, XrActionSetCreateInfo* info, XrActionSet* set) {
    if (!info->actionSetName[0] || !info->localizedActionSetName[0]) return XR_ERROR_NAME_INVALID;
    *set = new_object(ACTION_SET);
    return XR_SUCCESS;
}

XrResult xrDestroyActionSet(XrActionSet set) { return drop_object(set, ACTION_SET); }

XrResult xrCreateAction(XrActionSet set, XrActionCreateInfo* info, XrAction* action) {
    if (runtime.attached) return XR_ERROR_ACTIONSETS_ALREADY_ATTACHED;
    if (!info->actionName[0] || !info->localizedActionName[0]) return XR_ERROR_NAME_INVALID;
    if (info->actionType != XR_ACTION_TYPE_POSE_INPUT) return XR_ERROR_ACTION_TYPE_MISMATCH;
    *action = new_object(ACTION);
    return XR_SUCCESS;
}

XrResult xrDestroyAction(XrAction action) { return drop_object(action, ACTION); }

XrResult xrSuggestInteractionProfileBindings(XrInstance instance, XrInteractionProfileSuggestedBinding* info) {
    uint64_t profile, pose;
    if (!enabled("XR_EXT_eye_gaze_interaction")) return XR_ERROR_PATH_UNSUPPORTED;
    if (runtime.attached) return XR_ERROR_ACTIONSETS_ALREADY_ATTACHED;
    xrStringToPath(instance, "/interaction_profiles/ext/eye_gaze_interaction", &profile);
    xrStringToPath(instance, "/user/eyes_ext/input/gaze_ext/pose", &pose);
    if (info->interactionProfile != profile || info->countSuggestedBindings != 1) return XR_ERROR_PATH_UNSUPPORTED;
    if (info->suggestedBindings[0].binding != pose) return XR_ERROR_PATH_UNSUPPORTED;
    runtime.gaze_bound = 1;
    return XR_SUCCESS;
}

XrResult xrAttachSessionActionSets(XrSession session, XrSessionActionSetsAttachInfo* info) {
    if (runtime.attached) return XR_ERROR_ACTIONSETS_ALREADY_ATTACHED;
    runtime.attached = info->countActionSets == 1;
    return XR_SUCCESS;
}

XrResult xrCreateActionSpace(XrSession session, XrActionSpaceCreateInfo* info, XrSpace* space) {
    if (!is(info->action, ACTION)) return XR_ERROR_HANDLE_INVALID;
    *space = new_object(SPACE);
    return XR_SUCCESS;
}

XrResult xrSyncActions(XrSession session, XrActionsSyncInfo* info) {
    if (!runtime.attached) return XR_ERROR_ACTIONSET_NOT_ATTACHED;
    runtime.synced = runtime.running && runtime.gaze_bound;
    return runtime.state == XR_SESSION_STATE_FOCUSED ? XR_SUCCESS : XR_SESSION_NOT_FOCUSED;
}

XrResult xrGetActionStatePose(XrSession session, XrActionStateGetInfo* info, XrActionStatePose* state) {
    if (!is(info->action, ACTION)) return XR_ERROR_HANDLE_INVALID;
    state->isActive = runtime.synced && runtime.script.eye_gaze;
    return XR_SUCCESS;
}
