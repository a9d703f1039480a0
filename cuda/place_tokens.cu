// Token tables of layouts that move with the fixations and keep their form: template plus fixation.
//
// Grid: x = blocks of TEXVLM_THREADS rows, y = views; one thread, one row.
// Reads:  each view's template and frame size, the fixations. Nothing of them visits the host.
// Writes: rows[view][token], every row. Rows beyond a view's template are padding; so are all rows of a
//         view with a fixation that is not finite.
// The arithmetic is that of `place` in texvlm/layouts/template.py, in the same doubles: equal bits.
#include "placing.cuh"
#include "token_record.cuh"

struct TemplateRow {
    double x, y;  // from the anchor, texels
    double side;
    int anchor;   // index of the fixation; -1: the frame's corner; -2: no token
    int region;
};

struct TemplateView {
    const TemplateRow* rows;
    double margin;  // fixations are moved this far inside the frame; NaN: they stay
    int row_count;
    int width, height;
    int layer;
};

struct PlaceTokensArguments {
    const TemplateView* views;
    const void* fixations;  // (views, fixation_count, 2), u and v
    TokenRecord* rows;      // (views, tokens)
    int fixation_count;
    int is_double;  // fixations are doubles, else floats
    int tokens;
    int unused;
};
static_assert(sizeof(PlaceTokensArguments) == TEXVLM_ARGUMENT_BYTES, "differs from PLACE_ARGUMENTS in planner.py");

__device__ __forceinline__ double moved_inside(double place, double margin, double side) {
    const double low = fmin(margin, side * 0.5);
    return fmin(fmax(place, low), side - low);
}

__device__ __forceinline__ TokenRecord placed(
    const TemplateView& view, const TemplateRow& row, const Fixations& fixations
) {
    Point anchor = {0.0, 0.0};
    if (row.anchor >= 0) {
        anchor = fixations.in_texels(row.anchor, view.width, view.height);
        if (view.margin == view.margin) {
            anchor.x = moved_inside(anchor.x, view.margin, view.width);
            anchor.y = moved_inside(anchor.y, view.margin, view.height);
        }
    }
    return make_row(anchor.x + row.x, anchor.y + row.y, row.side, view.layer, row.region, view.width, view.height);
}

extern "C" __global__ void __launch_bounds__(TEXVLM_THREADS) place_tokens(const PlaceTokensArguments a) {
    const int token = (int)(blockIdx.x * TEXVLM_THREADS + threadIdx.x);
    if (token >= a.tokens) return;
    const TemplateView view = a.views[blockIdx.y];
    const Fixations fixations = fixations_of(a.fixations, (int)blockIdx.y, a.fixation_count, a.is_double);
    TokenRecord row = padding_row();
    if (token < view.row_count && view.rows[token].anchor != -2 && fixations.are_finite()) {
        row = placed(view, view.rows[token], fixations);
    }
    a.rows[(long long)blockIdx.y * a.tokens + token] = row;
}
