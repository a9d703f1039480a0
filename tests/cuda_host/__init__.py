"""A CUDA device imitated on the host, for tests: the same kernels, compiled by g++, behind `api.Driver`.

    cuda_host.h  what lets a .cu file compile for the host (fibers.h, images.h, intrinsics.h, runtime.h)
    compiler     g++ with a disk cache
    program      a compiled kernel file, and its launches
    images       arrays, and what kernels see of texture and surface objects
    account      every object and call; misuse; failures on demand
    calls        what surrounds each call: the books, and what a device refuses while capturing
    streams      work queued on streams, events, capture into graphs
    opengl       textures of a real OpenGL context, lent to the emulation
    driver       `HostDriver`: all of it as the backend's table of calls

It proves indexing, arithmetic, order of calls and ownership. It does not prove timing, races between
threads, nor what a device rounds differently (fused multiply-add, fast log2).
"""
