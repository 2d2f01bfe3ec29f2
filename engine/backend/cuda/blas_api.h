// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/driver_api.h"

#include <cstddef>
#include <cstdint>

// The part of cuBLASLt's interface that is used here (12 and 13 alike), declared by ourselves like the driver's; where a toolkit
// is, tests/engine/backend/cuda compares it with cublasLt.h. Status 0 is success everywhere.
namespace kvilt::backend::cuda::blas {

inline constexpr int kBf16 = 14, kF16 = 2, kF32 = 0; // cudaDataType
inline constexpr int kCompute32 = 68;
inline constexpr int kTransposeA = 3, kTransposeB = 4;
inline constexpr int kMaxWorkspace = 1, kAlignmentA = 5, kAlignmentB = 6, kAlignmentC = 7, kAlignmentD = 8;
inline constexpr std::int32_t kNormal = 0, kTransposed = 1;

// The library's result of a search; the algorithm is opaque.
struct Found {
    std::uint64_t algorithm[8];
    std::size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

// One line a function: its result, the name here, the symbol, the parameters.
#define KVILT_BLAS_FUNCTIONS(X)                                                                                              \
    X(int, create, "cublasLtCreate", (void **handle))                                                                        \
    X(int, destroy, "cublasLtDestroy", (void *handle))                                                                       \
    X(std::size_t, version, "cublasLtGetVersion", ())                                                                        \
    X(int, describe, "cublasLtMatmulDescCreate", (void **description, int compute, int scaleType))                           \
    X(int, undescribe, "cublasLtMatmulDescDestroy", (void *description))                                                     \
    X(int, setDescription, "cublasLtMatmulDescSetAttribute", (void *description, int name, const void *value, std::size_t size)) \
    X(int, layout, "cublasLtMatrixLayoutCreate", (void **layout, int type, std::uint64_t rows, std::uint64_t cols, std::int64_t ld)) \
    X(int, unlayout, "cublasLtMatrixLayoutDestroy", (void *layout))                                                          \
    X(int, prefer, "cublasLtMatmulPreferenceCreate", (void **preference))                                                    \
    X(int, unprefer, "cublasLtMatmulPreferenceDestroy", (void *preference))                                                  \
    X(int, setPreference, "cublasLtMatmulPreferenceSetAttribute", (void *preference, int name, const void *value, std::size_t size)) \
    X(int, search, "cublasLtMatmulAlgoGetHeuristic", (void *handle, void *description, void *a, void *b, void *c, void *d, void *preference, int wanted, Found *found, int *count)) \
    X(int, multiply, "cublasLtMatmul", (void *handle, void *description, const void *alpha, const void *a, void *aLayout, const void *b, void *bLayout, const void *beta, const void *c, void *cLayout, void *d, void *dLayout, const void *algorithm, void *workspace, std::size_t workspaceBytes, api::Stream stream))

} // namespace kvilt::backend::cuda::blas
