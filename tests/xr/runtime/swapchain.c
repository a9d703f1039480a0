// Swapchains: textures of the application's context, handed out in turn, and written to a file when the script says so.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define TEXTURE_2D 0x0DE1
#define TEXTURE_2D_ARRAY 0x8C1A
#define RGBA 0x1908
#define UNSIGNED_BYTE 0x1401

static struct {
    void (*CreateTextures)(unsigned, int, unsigned*);
    void (*DeleteTextures)(int, const unsigned*);
    void (*TextureStorage2D)(unsigned, int, unsigned, int, int);
    void (*TextureStorage3D)(unsigned, int, unsigned, int, int, int);
    void (*GetTextureSubImage)(unsigned, int, int, int, int, int, int, int, unsigned, unsigned, int, void*);
    unsigned (*GetError)(void);
} gl;

int load_gl(void* (*address_of)(const char*)) {
    gl.CreateTextures = address_of("glCreateTextures");
    gl.DeleteTextures = address_of("glDeleteTextures");
    gl.TextureStorage2D = address_of("glTextureStorage2D");
    gl.TextureStorage3D = address_of("glTextureStorage3D");
    gl.GetTextureSubImage = address_of("glGetTextureSubImage");
    gl.GetError = address_of("glGetError");
    return gl.CreateTextures && gl.DeleteTextures && gl.TextureStorage2D && gl.TextureStorage3D && gl.GetTextureSubImage;
}

XrResult xrEnumerateSwapchainFormats(XrSession session, uint32_t capacity, uint32_t* count, int64_t* formats) {
    return fill(runtime.script.formats, sizeof *formats, runtime.script.format_count, capacity, count, formats);
}

XrResult xrCreateSwapchain(XrSession session, XrSwapchainCreateInfo* info, XrSwapchain* out) {
    int offered = 0;
    for (int i = 0; i < runtime.script.format_count; i++) offered |= runtime.script.formats[i] == info->format;
    if (!offered) return XR_ERROR_SWAPCHAIN_FORMAT_UNSUPPORTED;
    if (!info->width || !info->height || info->faceCount != 1 || info->mipCount != 1 || info->sampleCount != 1)
        return XR_ERROR_VALIDATION_FAILURE;
    Object* chain = new_object(SWAPCHAIN);
    chain->info = *info;
    chain->acquired = chain->waited = chain->released = -1;
    gl.CreateTextures(info->arraySize > 1 ? TEXTURE_2D_ARRAY : TEXTURE_2D, MAX_IMAGES, chain->images);
    for (int i = 0; i < MAX_IMAGES; i++) {
        if (info->arraySize > 1)
            gl.TextureStorage3D(chain->images[i], 1, info->format, info->width, info->height, info->arraySize);
        else
            gl.TextureStorage2D(chain->images[i], 1, info->format, info->width, info->height);
    }
    *out = (XrSwapchain)chain;
    return gl.GetError() ? XR_ERROR_RUNTIME_FAILURE : XR_SUCCESS;
}

XrResult xrDestroySwapchain(XrSwapchain swapchain) {
    if (is(swapchain, SWAPCHAIN)) gl.DeleteTextures(MAX_IMAGES, ((Object*)swapchain)->images);
    return drop_object(swapchain, SWAPCHAIN);
}

XrResult xrEnumerateSwapchainImages(XrSwapchain swapchain, uint32_t capacity, uint32_t* count,
                                    XrSwapchainImageBaseHeader* out) {
    XrSwapchainImageOpenGLKHR images[MAX_IMAGES];
    for (int i = 0; i < MAX_IMAGES; i++)
        images[i] = (XrSwapchainImageOpenGLKHR){XR_TYPE_SWAPCHAIN_IMAGE_OPENGL_KHR, NULL, ((Object*)swapchain)->images[i]};
    return fill(images, sizeof *images, MAX_IMAGES, capacity, count, out);
}

XrResult xrAcquireSwapchainImage(XrSwapchain swapchain, XrSwapchainImageAcquireInfo* info, uint32_t* index) {
    Object* chain = (Object*)swapchain;
    if (chain->acquired >= 0) return XR_ERROR_CALL_ORDER_INVALID;
    *index = chain->acquired = chain->next;
    chain->next = (chain->next + 1) % MAX_IMAGES;
    return XR_SUCCESS;
}

XrResult xrWaitSwapchainImage(XrSwapchain swapchain, XrSwapchainImageWaitInfo* info) {
    Object* chain = (Object*)swapchain;
    if (chain->acquired < 0 || chain->waited >= 0) return XR_ERROR_CALL_ORDER_INVALID;
    chain->waited = chain->acquired;
    return XR_SUCCESS;
}

XrResult xrReleaseSwapchainImage(XrSwapchain swapchain, XrSwapchainImageReleaseInfo* info) {
    Object* chain = (Object*)swapchain;
    if (chain->waited < 0) return XR_ERROR_CALL_ORDER_INVALID;
    chain->released = chain->waited;
    chain->acquired = chain->waited = -1;
    return XR_SUCCESS;
}

static XrResult write_ppm(const unsigned char* pixels, int width, int height, int eye) {
    char path[600];
    snprintf(path, sizeof path, "%s-%d.ppm", runtime.script.show_path, eye);
    FILE* file = fopen(path, "wb");
    if (!file) return XR_ERROR_RUNTIME_FAILURE;
    fprintf(file, "P6 %d %d 255\n", width, height);
    for (int y = height - 1; y >= 0; y--)  // OpenGL's first row is the lowest
        for (int x = 0; x < width; x++) fwrite(pixels + 4 * (y * width + x), 1, 3, file);
    fclose(file);
    return XR_SUCCESS;
}

XrResult show(XrCompositionLayerProjectionView* view, int eye) {
    XrSwapchainSubImage* part = &view->subImage;
    Object* chain = (Object*)part->swapchain;
    XrRect2Di r = part->imageRect;
    if (!is(chain, SWAPCHAIN) || chain->released < 0 || chain->acquired >= 0) return XR_ERROR_LAYER_INVALID;
    if (r.offset.x < 0 || r.offset.y < 0 || r.offset.x + r.extent.width > (int)chain->info.width ||
        r.offset.y + r.extent.height > (int)chain->info.height || part->imageArrayIndex >= chain->info.arraySize)
        return XR_ERROR_SWAPCHAIN_RECT_INVALID;
    if (runtime.frame != runtime.script.show_frame) return XR_SUCCESS;
    size_t bytes = 4 * (size_t)r.extent.width * r.extent.height;
    unsigned char* pixels = malloc(bytes);
    gl.GetTextureSubImage(chain->images[chain->released], 0, r.offset.x, r.offset.y, part->imageArrayIndex, r.extent.width,
                          r.extent.height, 1, RGBA, UNSIGNED_BYTE, bytes, pixels);
    XrResult result = write_ppm(pixels, r.extent.width, r.extent.height, eye);
    free(pixels);
    return gl.GetError() ? XR_ERROR_RUNTIME_FAILURE : result;
}
