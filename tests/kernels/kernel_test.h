// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kernel_table.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

// What all kernel tests share: the tables to test, seeded data, poisoned memory.
namespace kvilt::kernels::test {

// Every instruction set this machine has, "scalar" first, and the emulated ones where they were built.
std::vector<const KernelTable *> tablesUnderTest();

// 64-byte aligned bytes, filled with NaNs of every width until they are written.
class AlignedBytes {
public:
    explicit AlignedBytes(std::size_t size);
    std::byte *data() { return m_start; }
    const std::byte *data() const { return m_start; }
    std::size_t size() const { return m_size; }
    bool operator==(const AlignedBytes &other) const;

private:
    std::vector<std::byte> m_bytes;
    std::byte *m_start;
    std::size_t m_size;
};

using Random = std::mt19937;
std::vector<float> randomFloats(Random &random, std::size_t n, float spread = 1.0f);
float poison(); // a NaN

// The fields of a block that random bits would make infinite or NaN: f16 scales, MXFP4's exponent, IQ1_M's in pieces.
struct ScaleField {
    std::size_t offset, bytes;
};
std::vector<ScaleField> scaleFields(WeightType type);

// A matrix in GGUF layout: random codes and sub-scales, scales of a sensible size.
std::vector<std::byte> randomWeights(Random &random, WeightType type, std::uint32_t rows, std::uint32_t cols);

struct Packed {
    PackedMatrix matrix;
    AlignedBytes bytes;
};
Packed pack(WeightType type, std::uint32_t rows, std::uint32_t cols, const std::vector<std::byte> &weights);

// Activation rows of every token of x ([tokens][cols]).
AlignedBytes prepareRows(const KernelTable &table, ActivationFormat format, const std::vector<float> &x, std::uint32_t cols);
// out[tokens][rows]
std::vector<float> matmul(const KernelTable &table, const Packed &weights, const AlignedBytes &rows, std::uint32_t tokens);

bool sameBits(const std::vector<float> &a, const std::vector<float> &b);
// Largest |a - b| / (1 + |b|); infinite where a is NaN.
double worstError(const std::vector<float> &a, const std::vector<double> &b);

} // namespace kvilt::kernels::test
