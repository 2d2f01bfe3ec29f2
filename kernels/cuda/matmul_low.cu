// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/device/matmul.cuh"

KV_MATMUL_KERNELS(Q2_K)
KV_MATMUL_KERNELS(Q3_K)
KV_MATMUL_KERNELS(TQ2_0) // TQ1_0 too
KV_MATMUL_KERNELS(IQ2_XS) // every codebook type
