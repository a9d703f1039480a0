// How texels are stored and summed, for each kind of texture.
//
// TEXVLM_INTEGER 1: 8-bit texels, read and written as one unsigned word (R8UI or R32UI view of the
//                   same storage), so that no rounding of the driver is involved.
// TEXVLM_INTEGER 0: float texels, written as their bits.
// TEXVLM_WORD_FORMAT: image format of one texel as unsigned words: r8ui, r32ui or rgba32ui.
#if TEXVLM_INTEGER
#define TEXEL_SAMPLER usampler2DArray
#else
#define TEXEL_SAMPLER sampler2DArray
#endif
