// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/device/matmul.cuh"

KV_MATMUL_FLOAT_KERNELS(F16)
KV_MATMUL_FLOAT_KERNELS(BF16)
