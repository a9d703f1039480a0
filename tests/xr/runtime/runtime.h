// An OpenXR runtime for tests: a headset that is not there, headless, on the application's own OpenGL context.
//
// It does what the specification asks of the functions that texvlm.xr calls, and refuses calls that come in the wrong
// order. Nobody wears it: time moves one frame with each xrWaitFrame, and gaze, head, formats, refusals and losses come from
// a script (script.c). What the compositor would show can be written to files. It is no runtime to use: one
// instance and one session at a time, two views, no input but gaze, no distortion, no real clock.
#pragma once
#include <stddef.h>

#include "openxr_part.h"  // written by openxr_header.py

#define PERIOD_NS 11111111LL
#define START_NS 5000000000LL
#define SAMPLED_BEFORE_NS 20000000LL        // how long before a frame is shown its gaze was measured
#define MONOTONIC_MINUS_XR_NS 7000000000LL  // between the clock of XrTime and the monotonic one
#define MAX_IMAGES 3
#define MAX_SCRIPTED 64

typedef enum { INSTANCE = 1, SESSION, SPACE, SWAPCHAIN, ACTION_SET, ACTION } Kind;

// What a handle points to, of any kind.
typedef struct {
    Kind kind;
    int place;               // of a space: an XrReferenceSpaceType, or 0 for the eyes' gaze
    XrSwapchainCreateInfo info;  // of a swapchain, as the rest
    uint32_t images[MAX_IMAGES];
    int next, acquired, waited, released;  // image numbers; -1 for none
} Object;

typedef struct {
    int frame, lost;
    float yaw, pitch;  // degrees to the right and up
} Gaze;

typedef struct {
    char extensions[512];
    int eye_gaze, images, fail_frame, fail_result, stop_frame, lose_session_frame, lose_instance_frame, hide_frame;
    int show_frame;
    char show_path[512];
    int64_t formats[8];
    int format_count, gaze_count;
    uint32_t width, height;
    XrFovf fov[2];
    XrPosef eyes[2], head;
    Gaze gaze[MAX_SCRIPTED];
} Script;

typedef struct {
    Script script;
    int live[ACTION + 1];  // objects of each kind
    int frame;             // number of the last frame waited for; 0 before the first
    int requirements_asked, running, waited, begun, attached, gaze_bound, synced, state;
    XrSession session;
} Runtime;

extern Runtime runtime;

// script.c
void read_script(Script* script);
const Gaze* gaze_now(void);
void note(const char* format, ...);  // a line for the test to read

// objects and events: instance.c
void* new_object(Kind kind);
XrResult drop_object(void* handle, Kind kind);
int is(void* handle, Kind kind);
void change_state(int state);
void lose_instance(void);
int enabled(const char* extension);
XrResult fill(const void* items, size_t item, uint32_t count, uint32_t capacity, uint32_t* written, void* out);

// poses.c
XrPosef times(XrPosef a, XrPosef b);
XrPosef inverse(XrPosef a);
XrPosef turned(float yaw, float pitch);
int same_pose(XrPosef a, XrPosef b);

// swapchain.c
int load_gl(void* (*address_of)(const char*));
XrResult show(XrCompositionLayerProjectionView* view, int eye);

static inline int64_t display_time(void) { return START_NS + runtime.frame * PERIOD_NS; }
