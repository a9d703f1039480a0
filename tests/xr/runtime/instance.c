// The instance: how the loader finds everything else, extensions, the headset, paths and events.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define EXPORT __attribute__((visibility("default")))
#define MAX_PATHS 64
#define MAX_EVENTS 32

// What the loader hands over, of openxr_loader_negotiation.h.
typedef struct {
    int32_t type;
    uint32_t version;
    size_t size;
    uint32_t min_interface, max_interface;
    uint64_t min_api, max_api;
} LoaderInfo;
typedef struct {
    int32_t type;
    uint32_t version;
    size_t size;
    uint32_t interface;
    uint64_t api;
    XrResult (*get_proc)(XrInstance, const char*, void**);
} RuntimeRequest;

Runtime runtime;
static char paths[MAX_PATHS][256], asked_for[512];
static int path_count, event_count;
static XrEventDataBuffer events[MAX_EVENTS];

void* new_object(Kind kind) {
    Object* object = calloc(1, sizeof *object);
    object->kind = kind;
    runtime.live[kind]++;
    return object;
}

int is(void* handle, Kind kind) { return handle && ((Object*)handle)->kind == kind; }

XrResult drop_object(void* handle, Kind kind) {
    if (!is(handle, kind)) return XR_ERROR_HANDLE_INVALID;
    runtime.live[kind]--;
    free(handle);
    return XR_SUCCESS;
}

XrResult fill(const void* items, size_t item, uint32_t count, uint32_t capacity, uint32_t* written, void* out) {
    *written = count;
    if (capacity == 0) return XR_SUCCESS;
    if (capacity < count) return XR_ERROR_SIZE_INSUFFICIENT;
    memcpy(out, items, item * count);
    return XR_SUCCESS;
}

static int listed(const char* list, const char* name) {
    const char* found = strstr(list, name);
    return found && strchr(",", found[strlen(name)]) && (found == list || found[-1] == ',');
}

int enabled(const char* extension) { return listed(asked_for, extension); }

static void push(const void* event, size_t size) {
    if (event_count < MAX_EVENTS) memcpy(&events[event_count++], event, size);
}

void change_state(int state) {
    XrEventDataSessionStateChanged e = {XR_TYPE_EVENT_DATA_SESSION_STATE_CHANGED, NULL, runtime.session, state, display_time()};
    push(&e, sizeof e);
    runtime.state = state;
    note("state %d", state);
}

void lose_instance(void) {
    XrEventDataInstanceLossPending e = {XR_TYPE_EVENT_DATA_INSTANCE_LOSS_PENDING, NULL, display_time()};
    push(&e, sizeof e);
}

XrResult xrPollEvent(XrInstance instance, XrEventDataBuffer* event) {
    if (event_count == 0) return XR_EVENT_UNAVAILABLE;
    *event = events[0];
    memmove(events, events + 1, --event_count * sizeof *events);
    return XR_SUCCESS;
}

XrResult xrEnumerateInstanceExtensionProperties(const char* layer, uint32_t capacity, uint32_t* count,
                                                XrExtensionProperties* out) {
    read_script(&runtime.script);
    XrExtensionProperties offered[16] = {0};
    char list[512];
    uint32_t n = 0;
    snprintf(list, sizeof list, "%s", runtime.script.extensions);
    for (char* name = strtok(list, ","); name && n < 16; name = strtok(NULL, ",")) {
        offered[n].type = XR_TYPE_EXTENSION_PROPERTIES, offered[n].extensionVersion = 1;
        snprintf(offered[n++].extensionName, sizeof offered->extensionName, "%s", name);
    }
    return fill(offered, sizeof *offered, n, capacity, count, out);
}

XrResult xrCreateInstance(XrInstanceCreateInfo* info, XrInstance* instance) {
    memset(&runtime, 0, sizeof runtime);
    read_script(&runtime.script);
    asked_for[0] = 0, path_count = event_count = 0;
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++) {
        if (!listed(runtime.script.extensions, info->enabledExtensionNames[i])) return XR_ERROR_EXTENSION_NOT_PRESENT;
        snprintf(asked_for + strlen(asked_for), sizeof asked_for - strlen(asked_for), "%s,", info->enabledExtensionNames[i]);
    }
    note("instance %s", asked_for);
    *instance = new_object(INSTANCE);
    return XR_SUCCESS;
}

XrResult xrDestroyInstance(XrInstance instance) {
    XrResult result = drop_object(instance, INSTANCE);
    int left = 0;
    for (int kind = SESSION; kind <= ACTION; kind++) left += runtime.live[kind];
    note("destroyed, %d objects left", left);
    return result;
}

XrResult xrGetInstanceProperties(XrInstance instance, XrInstanceProperties* p) {
    p->runtimeVersion = 1;
    snprintf(p->runtimeName, sizeof p->runtimeName, "texvlm test runtime");
    return XR_SUCCESS;
}

XrResult xrGetSystem(XrInstance instance, XrSystemGetInfo* info, uint64_t* system) {
    *system = 1;
    return runtime.script.width ? XR_SUCCESS : XR_ERROR_FORM_FACTOR_UNAVAILABLE;  // size 0 0: nothing plugged in
}

XrResult xrGetSystemProperties(XrInstance instance, uint64_t system, XrSystemProperties* p) {
    p->systemId = system;
    snprintf(p->systemName, sizeof p->systemName, "a headset that is not there");
    p->graphicsProperties = (XrSystemGraphicsProperties){4096, 4096, 16};
    p->trackingProperties = (XrSystemTrackingProperties){1, 1};
    for (XrBaseInStructure* next = p->next; next; next = next->next)
        if (next->type == XR_TYPE_SYSTEM_EYE_GAZE_INTERACTION_PROPERTIES_EXT && enabled("XR_EXT_eye_gaze_interaction"))
            ((XrSystemEyeGazeInteractionPropertiesEXT*)next)->supportsEyeGazeInteraction = runtime.script.eye_gaze;
    return XR_SUCCESS;
}

XrResult xrEnumerateViewConfigurationViews(XrInstance instance, uint64_t system, int32_t kind, uint32_t capacity,
                                           uint32_t* count, XrViewConfigurationView* out) {
    uint32_t w = runtime.script.width, h = runtime.script.height;
    XrViewConfigurationView view = {XR_TYPE_VIEW_CONFIGURATION_VIEW, NULL, w, 4096, h, 4096, 1, 1};
    XrViewConfigurationView views[2] = {view, view};
    if (kind != XR_VIEW_CONFIGURATION_TYPE_PRIMARY_STEREO) return XR_ERROR_VIEW_CONFIGURATION_TYPE_UNSUPPORTED;
    return fill(views, sizeof view, 2, capacity, count, out);
}

XrResult xrGetOpenGLGraphicsRequirementsKHR(XrInstance instance, uint64_t system, XrGraphicsRequirementsOpenGLKHR* r) {
    r->minApiVersionSupported = 4ULL << 48 | 3ULL << 32;
    r->maxApiVersionSupported = 4ULL << 48 | 6ULL << 32;
    runtime.requirements_asked = 1;
    return XR_SUCCESS;
}

XrResult xrConvertTimeToTimespecTimeKHR(XrInstance instance, int64_t time, Xrtimespec* out) {
    int64_t monotonic = time + MONOTONIC_MINUS_XR_NS;
    *out = (Xrtimespec){monotonic / 1000000000, monotonic % 1000000000};
    return XR_SUCCESS;
}

XrResult xrStringToPath(XrInstance instance, const char* text, uint64_t* path) {
    for (*path = 1; *path <= (uint64_t)path_count; ++*path)
        if (!strcmp(paths[*path - 1], text)) return XR_SUCCESS;
    if (path_count == MAX_PATHS) return XR_ERROR_PATH_COUNT_EXCEEDED;
    snprintf(paths[path_count++], sizeof *paths, "%s", text);
    return XR_SUCCESS;
}

XrResult xrPathToString(XrInstance instance, uint64_t path, uint32_t capacity, uint32_t* count, const char* out) {
    if (path < 1 || path > (uint64_t)path_count) return XR_ERROR_PATH_INVALID;
    return fill(paths[path - 1], 1, strlen(paths[path - 1]) + 1, capacity, count, (char*)out);
}

static XrResult get_proc(XrInstance instance, const char* name, void** function) {
#define FUNCTION(known) \
    if (!strcmp(name, #known)) return *function = (void*)known, XR_SUCCESS;
#include "functions.h"  // FUNCTION(...) for each, written by the build
    *function = NULL;
    return XR_ERROR_FUNCTION_UNSUPPORTED;
}

EXPORT XrResult xrNegotiateLoaderRuntimeInterface(const LoaderInfo* loader, RuntimeRequest* request) {
    if (loader->type != 1 || request->type != 3 || loader->min_interface > 1) return XR_ERROR_INITIALIZATION_FAILED;
    request->interface = 1;
    request->api = 1ULL << 48;
    request->get_proc = get_proc;
    return XR_SUCCESS;
}
