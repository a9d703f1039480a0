// A kept picture: smooth 8-bit gray levels of a frame, each with TEXVLM_PAD texels beyond its edges, as
// block_search.py lays them out.
#pragma once

struct KeptLevel {
    unsigned char* texels;  // texel (-PAD, -PAD)
    int width, height;      // of the frame on this level
    int stride;             // bytes from row to row; a multiple of 16
    int padding;
};

const int PAD = TEXVLM_PAD;
