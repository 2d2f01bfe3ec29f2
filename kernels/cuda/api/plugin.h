// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

// libkvilt_cuda.so: the kernels as machine code, and nothing else. It links no CUDA library and runs nothing; the engine opens
// it at run time (engine/backend/cuda/plugin.h), asks for this list through the one entry point below, and hands the images to
// the driver. Plain C, so that no compiler or library version is shared across it.
#ifdef __cplusplus
extern "C" {
#endif

#define KVILT_CUDA_PLUGIN_MAGIC 0x4b56434du /* "KVCM" */
/* Raised when this struct, a parameter struct of a kernel, or the meaning of one changes. */
#define KVILT_CUDA_PLUGIN_ABI 2u

typedef struct KviltCudaImage {
    const char *name;  /* the source it was compiled from, for messages: "matmul_q4" */
    const void *data;  /* a fat binary: cubins and PTX; the driver takes what fits the device */
    uint64_t bytes;
} KviltCudaImage;

typedef struct KviltCudaPlugin {
    uint32_t magic;
    uint32_t abi;
    uint32_t kernelVersion;    /* kKernelVersion of the sources it was built from */
    uint32_t toolkit;          /* 13000: CUDA 13.0 */
    const char *projectVersion;
    const char *architectures; /* "75,80,86,89,90,100,120+ptx" */
    const KviltCudaImage *images;
    uint32_t imageCount;
} KviltCudaPlugin;

/* The only symbol that is exported. Never null; lives as long as the library is open. */
const KviltCudaPlugin *kvilt_cuda_plugin(void);

#ifdef __cplusplus
}
#endif
