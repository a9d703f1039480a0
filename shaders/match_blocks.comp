// Finds where each window of a frame was in another one, on one level of their kept pictures; see block_search.py.
//
// Grid: (columns, rows) of blocks, a workgroup each; its threads take displacements in turn.
// Reads:  both kept pictures, the displacements of the coarser level, the list of displacements to try.
// Writes: the displacements of this level and, on the finest one, a record for each block.
// The cheapest displacement wins, of equal ones the first: cost and number go into one word, and the least is taken.
#include "kept_picture.glsl"

layout(local_size_x = 32) in;

layout(std430, binding = 0) readonly buffer Pictures { uint words[]; };
layout(std430, binding = 1) buffer Vectors { ivec2 vectors[]; };  // of the blocks of every level, coarsest first
layout(std430, binding = 2) writeonly buffer Found { int found[]; };  // TEXVLM_RECORD for each block
layout(std430, binding = 3) readonly buffer Steps { ivec2 steps[]; };
uniform int new_start;    // words of the two pictures
uniform int old_start;
uniform ivec2 grid;       // columns and rows
uniform int first;        // this level's in `vectors`
uniform ivec2 parents;    // columns and rows of the coarser level
uniform int first_parent; // -1 on the coarsest level
uniform int first_step;
uniform int step_count;
uniform int pitch;        // texels from block to block
uniform int measure;      // whether this is the finest level

const int WINDOW = TEXVLM_WINDOW;
const uint STILL = TEXVLM_STILL;
const uint NOTHING = 0xffffffffu;

shared uint best;
shared ivec2 guesses[5];
shared int sums[5];

// Byte at which a window begins, counted from (-PAD, -PAD). Those wholly outside the frame look alike.
ivec2 corner_of(ivec2 window) {
    return clamp(window, ivec2(-WINDOW), size) + PAD;
}

// Four bytes from byte x of a row of words on.
uint bytes_at(int row, int x) {
    uint low = words[row + (x >> 2)], high = words[row + (x >> 2) + 1];
    int shift = 8 * (x & 3);
    return shift == 0 ? low : (low >> shift) | (high << (32 - shift));
}

ivec4 unpacked(uint word) {
    return (ivec4(word) >> ivec4(0, 8, 16, 24)) & 255;
}

uint differences(ivec2 ours, ivec2 theirs) {
    ivec4 total = ivec4(0);
    for (int y = 0; y < WINDOW; y++) {
        int row = new_start + start + (ours.y + y) * stride, other = old_start + start + (theirs.y + y) * stride;
        for (int x = 0; x < WINDOW; x += 4) {
            total += abs(unpacked(bytes_at(row, ours.x + x)) - unpacked(bytes_at(other, theirs.x + x)));
        }
    }
    return uint(total.x + total.y + total.z + total.w);
}

int byte_at(int first_word, ivec2 place) {
    return int(words[first_word + start + place.y * stride + (place.x >> 2)] >> (8 * (place.x & 3))) & 255;
}

// Sum and difference of both windows at one texel.
ivec2 pair_at(ivec2 ours, ivec2 theirs, ivec2 offset) {
    int a = byte_at(new_start, ours + offset), b = byte_at(old_start, theirs + offset);
    return ivec2(a + b, a - b);
}

void add_gradients(ivec2 ours, ivec2 theirs) {
    int own[5] = int[5](0, 0, 0, 0, 0);
    for (int index = int(gl_LocalInvocationID.x); index < WINDOW * WINDOW; index += 32) {
        ivec2 centre = ivec2(index % WINDOW, index / WINDOW);
        ivec2 line[3];  // of the rows above, at and below: smoothed across
        int slope[3];
        for (int j = 0; j < 3; j++) {
            ivec2 left = pair_at(ours, theirs, centre + ivec2(-1, j - 1));
            ivec2 here = pair_at(ours, theirs, centre + ivec2(0, j - 1));
            ivec2 right = pair_at(ours, theirs, centre + ivec2(1, j - 1));
            line[j] = left + 2 * here + right;
            slope[j] = right.x - left.x;
        }
        int x = slope[0] + 2 * slope[1] + slope[2], y = line[2].x - line[0].x;
        int t = line[0].y + 2 * line[1].y + line[2].y;
        own[0] += x * x;
        own[1] += x * y;
        own[2] += y * y;
        own[3] += x * t;
        own[4] += y * t;
    }
    for (int k = 0; k < 5; k++) atomicAdd(sums[k], own[k]);
}

void main() {
    int thread = int(gl_LocalInvocationID.x);
    ivec2 block = ivec2(gl_WorkGroupID.xy);
    int index = block.y * grid.x + block.x;
    ivec2 window = block * pitch + pitch / 2 - WINDOW / 2;
    ivec2 place = corner_of(window);
    if (thread == 0) best = NOTHING;
    if (thread < 5) {
        sums[thread] = 0;
        guesses[thread] = ivec2(0);
        if (thread > 0 && first_parent >= 0) {
            ivec2 parent = block >> 1;
            ivec2 beside = clamp(parent + 2 * (block & 1) - 1, ivec2(0), parents - 1);
            ivec2 chosen = ivec2(((thread - 1) & 1) == 0 ? parent.x : beside.x, thread < 3 ? parent.y : beside.y);
            guesses[thread] = 2 * vectors[first_parent + chosen.y * parents.x + chosen.x];
        }
    }
    barrier();

    // none, then the guesses: those that are none, too, come after it and cannot win
    int count = first_parent >= 0 ? 5 : 1;
    if (thread < count) {
        uint cost = differences(place, corner_of(window + guesses[thread])) + (thread > 0 ? STILL : 0u);
        atomicMin(best, (cost << 8) | uint(thread));
    }
    barrier();
    uint won = best;
    barrier();
    ivec2 moved = guesses[won & 255u];
    bool still = won == 0u;  // no displacement at no cost: the window did not change
    if (!still) {
        for (int k = thread; k < step_count; k += 32) {
            ivec2 tried = moved + steps[first_step + k];
            if (tried != ivec2(0)) {
                uint cost = differences(place, corner_of(window + tried)) + STILL;
                atomicMin(best, (cost << 8) | uint(16 + k));
            }
        }
    }
    barrier();
    if ((best & 255u) >= 16u) moved += steps[first_step + int(best & 255u) - 16];
    if (thread == 0) vectors[first + index] = moved;
    if (measure == 0) return;
    ivec2 target = corner_of(window + moved);
    if (!still) add_gradients(place, target);
    barrier();
    if (thread == 0) {
        int record = index * TEXVLM_RECORD;
        found[record] = moved.x;
        found[record + 1] = moved.y;
        found[record + 2] = int(differences(place, target));
        found[record + 3] = int(differences(place, place));
        for (int k = 0; k < 5; k++) found[record + 4 + k] = sums[k];
    }
}
