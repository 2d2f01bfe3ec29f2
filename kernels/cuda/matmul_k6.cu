// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/device/matmul.cuh"

KV_MATMUL_KERNELS(Q6_K)
KV_MATMUL_KERNELS(IQ4_XS)
