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
double weight(WeightType type, const std::byte *row, std::uint32_t k);

std::vector<double> rmsNorm(const std::vector<float> &x, const std::vector<float> &weight, double eps);
double silu(double x);
double gelu(double x); // tanh form
std::vector<double> rope(RopeKind kind, const std::vector<float> &head, std::uint32_t rotated, double base, double position);

// One query over keys and values [position][dim], positions [begin, end) visible.
std::vector<double> attention(const std::vector<double> &query, const std::vector<std::vector<double>> &keys,
                              const std::vector<std::vector<double>> &values, std::size_t begin, std::size_t end,
                              double scale, double softcap);

} // namespace kvilt::kernels::reference
