// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/device/matmul.cuh"

KV_MATMUL_KERNELS(Q4_K)
KV_MATMUL_KERNELS(Q5_K)
