// Token tables of the sunflower layout: an exact count of squares, dense at the fixation.
//
// Grid: x = views; a block takes one view. First its threads add up, over TEXVLM_RADII circles about the
//       fixation, the share of tokens that lies inside each; then each thread places tokens.
// Reads:  each view's frame size and focal length, the fixations. Nothing of them visits the host.
// Writes: rows[view][token], every row; all padding for a view whose fixation is not finite.
// The steps are those of texvlm/layouts/sunflower.py, in doubles. Places differ from the host's in the
// last bits of a float, as far as its mathematical functions differ from the device's.
#include "placing.cuh"
#include "token_record.cuh"

struct SunflowerView {
    double focal;  // distance of the picture plane from the eye, texels
    int width, height;
    int layer;
    int unused;
};

struct PlaceSunflowerArguments {
    const SunflowerView* views;
    const void* fixations;  // (views, 2), u and v
    TokenRecord* rows;      // (views, tokens)
    double e2_deg;          // eccentricity at which tokens are twice as wide
    int is_double;  // fixations are doubles, else floats
    int tokens;
};
static_assert(sizeof(PlaceSunflowerArguments) == TEXVLM_ARGUMENT_BYTES, "differs from SUNFLOWER_ARGUMENTS in planner.py");

#define TEXVLM_ARCS 9  // a circle crosses each of four edges twice at most
#define TEXVLM_PI 3.141592653589793
#define TEXVLM_TURN 6.283185307179586
#define TEXVLM_GOLDEN 0.6180339887498949  // of a turn, from one token to the next

// Arcs of one circle that lie inside the frame; length 0 for one outside.
struct Arcs {
    double start[TEXVLM_ARCS], length[TEXVLM_ARCS];
};

// The point of a circle at an angle. In half turns, because the functions of radians carry a slow path
// for large angles, and with it a stack.
__device__ __forceinline__ Point on_circle(Point centre, double radius, double angle) {
    const double half_turns = angle * (1.0 / TEXVLM_PI);
    return Point{centre.x + radius * cospi(half_turns), centre.y + radius * sinpi(half_turns)};
}

// An angle in 0..2 pi; 0 where there is none (NaN), which cuts off nothing.
__device__ __forceinline__ double turned(double angle) {
    if (!(angle == angle)) return 0.0;
    return angle < 0.0 ? angle + TEXVLM_TURN : angle;
}

__device__ Arcs arcs_inside(Point centre, double radius, const SunflowerView& view) {
    const double safe = fmax(radius, 1e-9), width = view.width, height = view.height;
    const double right0 = acos((0.0 - centre.x) / safe), right1 = acos((width - centre.x) / safe);
    const double up0 = asin((0.0 - centre.y) / safe), up1 = asin((height - centre.y) / safe);
    Arcs arcs;
    double* start = arcs.start;
    start[0] = 0.0;
    start[1] = turned(right0);
    start[2] = turned(right1);
    start[3] = turned(-right0);
    start[4] = turned(-right1);
    start[5] = turned(up0);
    start[6] = turned(up1);
    start[7] = turned(TEXVLM_PI - up0);
    start[8] = turned(TEXVLM_PI - up1);
#pragma unroll
    for (int round = 0; round < TEXVLM_ARCS; round++) {  // odd-even sort: every index is known to the compiler
#pragma unroll
        for (int i = round & 1; i + 1 < TEXVLM_ARCS; i += 2) {
            const double low = fmin(start[i], start[i + 1]), high = fmax(start[i], start[i + 1]);
            start[i] = low;
            start[i + 1] = high;
        }
    }
#pragma unroll
    for (int i = 0; i < TEXVLM_ARCS; i++) {
        const double end = i + 1 < TEXVLM_ARCS ? start[i + 1] : TEXVLM_TURN, middle = (start[i] + end) * 0.5;
        const Point point = on_circle(centre, safe, middle);
        const bool is_inside = point.x >= 0.0 && point.x <= width && point.y >= 0.0 && point.y <= height;
        arcs.length[i] = is_inside ? end - start[i] : 0.0;
    }
    return arcs;
}

// Angle at a fraction of what lies inside.
__device__ __forceinline__ double angle_inside(const Arcs& arcs, double fraction) {
    double whole = 0.0;
#pragma unroll
    for (int i = 0; i < TEXVLM_ARCS; i++) whole += arcs.length[i];
    const double along = fraction * whole;
    double before = 0.0, angle = arcs.start[0] + along;
#pragma unroll
    for (int i = 0; i + 1 < TEXVLM_ARCS; i++) {
        before += arcs.length[i];
        if (before <= along) angle = arcs.start[i + 1] + (along - before);
    }
    return angle;
}

__device__ __forceinline__ double eccentricity_deg(double radius, double focal) {
    return atan(radius / focal) * (180.0 / TEXVLM_PI);
}

// The fixation, or the point in its direction that is as far away as makes a difference.
__device__ __forceinline__ Point pulled_in(Point fixation, const SunflowerView& view) {
    const double middle_x = view.width * 0.5, middle_y = view.height * 0.5;
    const double x = fixation.x - middle_x, y = fixation.y - middle_y;
    const double distance = hypot(x, y), limit = 64.0 * max(view.width, view.height);
    if (distance <= limit) return fixation;
    return Point{middle_x + x * (limit / distance), middle_y + y * (limit / distance)};
}

extern "C" __global__ void __launch_bounds__(TEXVLM_THREADS, 1) place_sunflower(const PlaceSunflowerArguments a) {
    __shared__ double share[TEXVLM_RADII];  // of an endless picture's tokens, inside each circle
    __shared__ double inside[TEXVLM_RADII]; // of each circle, in the frame
    __shared__ double total[TEXVLM_RADII];  // of the frame's tokens, inside each circle
    const SunflowerView view = a.views[blockIdx.x];
    TokenRecord* const rows = a.rows + (long long)blockIdx.x * a.tokens;
    const Fixations fixation = fixations_of(a.fixations, (int)blockIdx.x, 1, a.is_double);
    if (!fixation.are_finite()) {
        for (int token = (int)threadIdx.x; token < a.tokens; token += TEXVLM_THREADS) rows[token] = padding_row();
        return;
    }
    const Point centre = pulled_in(fixation.in_texels(0, view.width, view.height), view);
    const double nearest = hypot(fmax(fmax(-centre.x, centre.x - view.width), 0.0),
                                 fmax(fmax(-centre.y, centre.y - view.height), 0.0));
    const double farthest = hypot(fmax(centre.x, view.width - centre.x), fmax(centre.y, view.height - centre.y));
    const double span = farthest - nearest;

    for (int i = (int)threadIdx.x; i < TEXVLM_RADII; i += TEXVLM_THREADS) {
        const double step = i / (TEXVLM_RADII - 1.0), radius = nearest + span * (step * step);
        const double ratio = eccentricity_deg(radius, view.focal) / a.e2_deg;
        share[i] = log1p(ratio) - ratio / (ratio + 1.0);
        const Arcs arcs = arcs_inside(centre, radius, view);
        double sum = 0.0;
#pragma unroll
        for (int arc = 0; arc < TEXVLM_ARCS; arc++) sum += arcs.length[arc];
        inside[i] = sum / TEXVLM_TURN;
    }
    __syncthreads();
    if (threadIdx.x == 0) {  // one after the other, as on the host: half a thousand additions
        double sum = 0.0;
        total[0] = 0.0;
        for (int i = 1; i < TEXVLM_RADII; i++) {
            sum += (share[i] - share[i - 1]) * (inside[i] + inside[i - 1]) * 0.5;
            total[i] = sum;
        }
    }
    __syncthreads();

    const double whole = total[TEXVLM_RADII - 1];
    for (int token = (int)threadIdx.x; token < a.tokens; token += TEXVLM_THREADS) {
        const double wanted = (token + 0.5) / a.tokens * whole;
        int low = 0, high = TEXVLM_RADII - 1;  // total[low] <= wanted < total[high]
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if (total[middle] <= wanted) low = middle;
            else high = middle;
        }
        const double from = low / (TEXVLM_RADII - 1.0), to = high / (TEXVLM_RADII - 1.0);
        const double inner = nearest + span * (from * from), outer = nearest + span * (to * to);
        const double radius = inner + (outer - inner) / (total[high] - total[low]) * (wanted - total[low]);
        const double eccentricity = eccentricity_deg(radius, view.focal), tangent = radius / view.focal;
        const double slope = view.focal * (TEXVLM_PI / 180.0) * (1.0 + tangent * tangent);
        const double wide = eccentricity + a.e2_deg;
        const double area = whole / a.tokens * (wide * wide) * slope * (TEXVLM_TURN * radius / eccentricity);
        const double turns = token * TEXVLM_GOLDEN;
        const double angle = angle_inside(arcs_inside(centre, radius, view), turns - floor(turns));
        const Point point = on_circle(centre, radius, angle);
        const double x = fmin(fmax(point.x, 0.0), (double)view.width);
        const double y = fmin(fmax(point.y, 0.0), (double)view.height);
        rows[token] = make_row(x, y, sqrt(area), view.layer, 0, view.width, view.height);
    }
}
