"""The `cuda` backend: frames in layered, mip-mapped CUDA arrays, tokens by the texture units.

    api          what the backend asks of a device: one small table of calls
    opening      finds the GPU, or says why there is none
    driver       those calls on a real GPU
    bindings     cuda-bindings; the only module that imports it
    compiler     NVRTC with a disk cache: cuda/*.cu -> machine code
    kernels      compiled kernels, and how their arguments are packed
    arrays       texture arrays: storage, texture and surface objects, tile versions
    ingest       frames in: compare, write, mips, tail
    host_frames  frames from host memory, compared there or on the device
    host_policy  which of the two, by measured rates
    staging      frames from host memory on their way to the device
    sampler      tokens out
    planner      token tables made on the device from fixations that live there
    deferred     what must wait until queued kernels have run
    interop      arrays that OpenGL owns: the mapping state machine
    attached     an application's own OpenGL texture as a source
    graphs       a captured frame: ingest, tail and sample as one launch
    backend      the verbs of `texvlm.backends.base.Backend`

Everything here runs without cuda-bindings but `bindings` and what is built on it: the tests drive it with the same
kernel sources, compiled for the host.
"""
