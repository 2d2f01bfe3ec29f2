// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/device/matmul.cuh"

KV_MATMUL_KERNELS(Q4_0)
KV_MATMUL_KERNELS(Q4_1)
KV_MATMUL_KERNELS(IQ4_NL)
KV_MATMUL_KERNELS(MXFP4)
