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
uniform int spiral_start; // of `steps`: those before lie around the best guess, the others anywhere
uniform int step_count;
uniform int between;      // whether this level is neither the coarsest nor the finest
uniform int pitch;        // texels from block to block
uniform int measure;      // whether this is the finest level

const int WINDOW = TEXVLM_WINDOW;

shared uint sad_still;
shared uint best_guess;  // cost << 8 | number; none is 0, the guesses 1..4
shared uint best_near;   // likewise, displacements around the best of those from 16 on
shared uint best_far;    // and those from anywhere from 32 on
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

// All threads of the workgroup have come here, and see what each wrote.
void meet() {
    memoryBarrierShared();
    barrier();
}

void main() {
    int thread = int(gl_LocalInvocationID.x);
    ivec2 block = ivec2(gl_WorkGroupID.xy);
    int index = block.y * grid.x + block.x;
    ivec2 window = block * pitch + pitch / 2 - WINDOW / 2;
    ivec2 place = corner_of(window);
    if (thread == 0) {
        sad_still = differences(place, place);
        best_guess = sad_still << 8;
    }
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
    meet();

    // the guesses: those that are none, too, come after it and cannot win
    uint fee = TEXVLM_STILL + (sad_still >> TEXVLM_STILL_SHIFT);
    if (first_parent >= 0 && thread > 0 && thread < 5) {
        uint cost = differences(place, corner_of(window + guesses[thread])) + fee;
        atomicMin(best_guess, (cost << 8) | uint(thread));
    }
    meet();
    ivec2 moved = guesses[best_guess & 255u];
    if (thread == 0) best_near = best_guess;
    meet();
    bool still = sad_still == 0u;
    if (!still && first_parent >= 0 && thread < spiral_start) {
        ivec2 tried = moved + steps[thread];
        if (tried != ivec2(0)) {
            uint cost = differences(place, corner_of(window + tried)) + fee;
            atomicMin(best_near, (cost << 8) | uint(16 + thread));
        }
    }
    meet();
    if (thread == 0) best_far = best_near;
    meet();
    uint left = best_near >> 8;
    bool astray = between != 0 && 2u * left > sad_still && left > TEXVLM_STRAY;
    if (!still && (first_parent < 0 || astray)) {
        for (int k = spiral_start + thread; k < step_count; k += 32) {
            uint cost = differences(place, corner_of(window + steps[k])) + fee;
            atomicMin(best_far, (cost << 8) | uint(32 + k - spiral_start));
        }
    }
    meet();
    int chosen = int(best_far & 255u);
    if (chosen >= 32) moved = steps[spiral_start + chosen - 32];
    else if (chosen >= 16) moved += steps[chosen - 16];
    if (thread == 0) vectors[first + index] = moved;
    if (measure == 0) return;
    ivec2 target = corner_of(window + moved);
    if (!still) add_gradients(place, target);
    meet();
    if (thread == 0) {
        int record = index * TEXVLM_RECORD;
        found[record] = moved.x;
        found[record + 1] = moved.y;
        found[record + 2] = int(differences(place, target));
        found[record + 3] = int(sad_still);
        for (int k = 0; k < 5; k++) found[record + 4 + k] = sums[k];
    }
}
