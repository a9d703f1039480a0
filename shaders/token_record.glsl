// One row of the token table; mirrors TOKEN_RECORD in texvlm/layouts/table.py, field by field.
// Six 4-byte scalars, so std430 packs rows without gaps (24 bytes).
struct TokenRecord {
    float x;      // centre, level-0 texels, origin = outer corner of texel (0, 0), y down
    float y;
    float side;   // level-0 texels
    int layer;    // texture-array index; TEXVLM_PADDING_LAYER for a row that holds no token
    int region;
    float valid;  // fraction of the token's area inside the frame
};
