// A kept picture: smooth 8-bit gray levels of a frame, each with TEXVLM_PAD texels beyond its edges, as
// block_search.py lays them out. Four texels a word, the first one lowest; rows begin at whole words.
const int PAD = TEXVLM_PAD;
uniform ivec2 size;   // of the frame on this level, texels
uniform int start;    // word of texel (-PAD, -PAD), from the picture's first
uniform int stride;   // words from row to row
