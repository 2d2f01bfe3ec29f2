// SPDX-License-Identifier: Apache-2.0
// What a toolkit brings for linking without a driver: every call of it answers CUDA_ERROR_STUB_LIBRARY.
extern "C" __attribute__((visibility("default"))) int cuDriverGetVersion(int *)
{
    return 34;
}
