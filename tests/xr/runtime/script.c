// The script: what the wearer and the runtime do, by frame numbers from 1, one directive a line.
//
//   extensions A,B,...       what the runtime offers; this replaces the list
//   eye_gaze 0|1             whether the headset has an eye tracker
//   formats 0x8C43,0x8058    of swapchains, in the runtime's order of preference
//   size W H                 of one eye's picture        fov EYE LEFT RIGHT UP DOWN   radians
//   eye EYE X Y Z QX QY QZ QW   in the head              head X Y Z QX QY QZ QW       in the room
//   gaze FRAME YAW PITCH     degrees right and up, from that frame on      blink FRAME   no gaze from there on
//   hide FRAME               that frame is not to be drawn
//   stop FRAME               the session is asked to end  fail FRAME RESULT   what xrWaitFrame answers, by number
//   lose_session FRAME       by an event                  lose_instance FRAME by an event
//   show FRAME PATH          writes what would be shown to PATH-0.ppm and PATH-1.ppm
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

static void read_pose(const char* text, XrPosef* p) {
    sscanf(text, "%f %f %f %f %f %f %f", &p->position.x, &p->position.y, &p->position.z, &p->orientation.x,
           &p->orientation.y, &p->orientation.z, &p->orientation.w);
}

static void read_formats(Script* s, const char* text) {
    char* end;
    for (s->format_count = 0; *text && s->format_count < 8; text = *end ? end + 1 : end)
        s->formats[s->format_count++] = strtoll(text, &end, 0);
}

static void read_line(Script* s, const char* word, const char* rest) {
    int n = 0, at = 0;
    Gaze* gaze = &s->gaze[s->gaze_count];
    if (!strcmp(word, "extensions")) snprintf(s->extensions, sizeof s->extensions, "%s", rest);
    else if (!strcmp(word, "eye_gaze")) s->eye_gaze = atoi(rest);
    else if (!strcmp(word, "formats")) read_formats(s, rest);
    else if (!strcmp(word, "size")) sscanf(rest, "%u %u", &s->width, &s->height);
    else if (!strcmp(word, "fov")) {
        XrFovf f;
        if (sscanf(rest, "%d %f %f %f %f", &n, &f.angleLeft, &f.angleRight, &f.angleUp, &f.angleDown) == 5) s->fov[n & 1] = f;
    } else if (!strcmp(word, "eye")) {
        if (sscanf(rest, "%d %n", &n, &at) == 1) read_pose(rest + at, &s->eyes[n & 1]);
    } else if (!strcmp(word, "head")) read_pose(rest, &s->head);
    else if (!strcmp(word, "gaze") && s->gaze_count < MAX_SCRIPTED) {
        sscanf(rest, "%d %f %f", &gaze->frame, &gaze->yaw, &gaze->pitch), s->gaze_count++;
    } else if (!strcmp(word, "blink") && s->gaze_count < MAX_SCRIPTED) {
        gaze->frame = atoi(rest), gaze->lost = 1, s->gaze_count++;
    } else if (!strcmp(word, "hide")) s->hide_frame = atoi(rest);
    else if (!strcmp(word, "stop")) s->stop_frame = atoi(rest);
    else if (!strcmp(word, "fail")) sscanf(rest, "%d %d", &s->fail_frame, &s->fail_result);
    else if (!strcmp(word, "lose_session")) s->lose_session_frame = atoi(rest);
    else if (!strcmp(word, "lose_instance")) s->lose_instance_frame = atoi(rest);
    else if (!strcmp(word, "show")) sscanf(rest, "%d %511s", &s->show_frame, s->show_path);
    else note("unknown directive %s", word);
}

void read_script(Script* s) {
    *s = (Script){.eye_gaze = 1, .width = 320, .height = 288, .formats = {0x8C43, 0x8058}, .format_count = 2};
    snprintf(s->extensions, sizeof s->extensions,
             "XR_KHR_opengl_enable,XR_MNDX_egl_enable,XR_EXT_eye_gaze_interaction,XR_KHR_convert_timespec_time");
    s->head.orientation.w = 1;
    for (int eye = 0; eye < 2; eye++) {
        s->eyes[eye].orientation.w = 1;
        s->eyes[eye].position.x = eye ? 0.032f : -0.032f;
        s->fov[eye] = eye ? (XrFovf){-0.7f, 0.9f, 0.8f, -0.85f} : (XrFovf){-0.9f, 0.7f, 0.8f, -0.85f};
    }
    const char* path = getenv("TEXVLM_TEST_XR_SCRIPT");
    FILE* file = path ? fopen(path, "r") : NULL;
    char line[600], word[32];
    int at;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%31s %n", word, &at) == 1) read_line(s, word, line + at);
    }
    if (file) fclose(file);
}

const Gaze* gaze_now(void) {
    const Gaze* now = NULL;
    for (int i = 0; i < runtime.script.gaze_count; i++)
        if (runtime.script.gaze[i].frame <= runtime.frame) now = &runtime.script.gaze[i];
    return now;
}

void note(const char* format, ...) {
    const char* path = getenv("TEXVLM_TEST_XR_LOG");
    FILE* file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fputc('\n', file);
    fclose(file);
}
