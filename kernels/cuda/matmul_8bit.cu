// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/device/matmul.cuh"

KV_MATMUL_KERNELS(Q5_0)
KV_MATMUL_KERNELS(Q5_1)
KV_MATMUL_KERNELS(Q8_0)
