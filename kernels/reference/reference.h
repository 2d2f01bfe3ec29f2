// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/attention.h"
#include "kernels/api/packed_matrix.h"
#include "kernels/api/rope.h"

#include <cstddef>
#include <cstdint>
#include <vector>

// What the kernels should compute, in double precision and in the plainest form, for tests. Shares no code with the
// kernels beyond the type table: block formats are read here a second time, one weight at a time.
namespace kvilt::kernels::reference {

double half(const std::byte *at);
// NaN for the types below three bits.
double weight(WeightType type, const std::byte *row, std::uint32_t k);
// A row: weight() of each, and for the types that it does not read what layout/dequantise.h gives, which golden vectors of
// another implementation hold to the format (tests/kernels/golden_blocks.inc).
std::vector<double> weights(WeightType type, const std::byte *row, std::uint32_t cols);

std::vector<double> rmsNorm(const std::vector<float> &x, const std::vector<float> &weight, double eps);
double silu(double x);
double gelu(double x); // tanh form
std::vector<double> rope(RopeKind kind, const std::vector<float> &head, std::uint32_t rotated, double base, double position);

// A head turned as before it is quantised for the KV: runs of the largest power of two that divides its length (at most
// 256), each times the Hadamard matrix (-1)^popcount(i & j) / sqrt(run). Its own inverse.
std::vector<double> rotated(const std::vector<double> &head);
// One query over keys and values [position][dim], positions [begin, end) visible.
std::vector<double> attention(const std::vector<double> &query, const std::vector<std::vector<double>> &keys,
                              const std::vector<std::vector<double>> &values, std::size_t begin, std::size_t end,
                              double scale);

} // namespace kvilt::kernels::reference
