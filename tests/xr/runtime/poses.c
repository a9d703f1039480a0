// Rigid motions, as the spaces of OpenXR are to each other.
#include <math.h>

#include "runtime.h"

static XrQuaternionf multiply(XrQuaternionf a, XrQuaternionf b) {
    return (XrQuaternionf){a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y, a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
                           a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w, a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z};
}

static XrVector3f turn(XrQuaternionf q, XrVector3f v) {
    XrQuaternionf r = multiply(multiply(q, (XrQuaternionf){v.x, v.y, v.z, 0}), (XrQuaternionf){-q.x, -q.y, -q.z, q.w});
    return (XrVector3f){r.x, r.y, r.z};
}

XrPosef times(XrPosef a, XrPosef b) {
    XrVector3f v = turn(a.orientation, b.position);
    return (XrPosef){multiply(a.orientation, b.orientation),
                     {a.position.x + v.x, a.position.y + v.y, a.position.z + v.z}};
}

XrPosef inverse(XrPosef a) {
    XrQuaternionf q = {-a.orientation.x, -a.orientation.y, -a.orientation.z, a.orientation.w};
    return (XrPosef){q, turn(q, (XrVector3f){-a.position.x, -a.position.y, -a.position.z})};
}

XrPosef turned(float yaw, float pitch) {
    float half = 3.14159265f / 360;
    XrQuaternionf right = {0, sinf(-yaw * half), 0, cosf(yaw * half)}, up = {sinf(pitch * half), 0, 0, cosf(pitch * half)};
    return (XrPosef){multiply(right, up), {0, 0, 0}};
}

int same_pose(XrPosef a, XrPosef b) {
    XrPosef d = times(inverse(a), b);
    return fabsf(d.orientation.w) > 0.9999f && fabsf(d.position.x) + fabsf(d.position.y) + fabsf(d.position.z) < 1e-3f;
}
