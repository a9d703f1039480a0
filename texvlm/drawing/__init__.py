"""Drawing: the frame from its tokens alone, token squares, changed tiles, sheets, previews.

`reconstruct` paints a frame back from a TokenBatch; `pictures` draws on frames and writes PNGs;
`preview` writes an mp4; `layout_sheet` shows a layout's coverage. The kernels are single-threaded, so
that drawing never competes with the engine. Nothing here is needed to encode.
"""
