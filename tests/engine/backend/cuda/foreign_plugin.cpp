// SPDX-License-Identifier: Apache-2.0
// A plug-in of another version, for the test that it is refused.
#include "kernels/cuda/api/plugin.h"

extern "C" __attribute__((visibility("default"))) const KviltCudaPlugin *kvilt_cuda_plugin(void)
{
    static const KviltCudaPlugin kOther = {KVILT_CUDA_PLUGIN_MAGIC, KVILT_CUDA_PLUGIN_ABI + 1, 0, 13000, "9.9", "90", nullptr, 0};
    return &kOther;
}
