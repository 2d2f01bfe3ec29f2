// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/kernel_test.h"

#include "kernels/layout/half.h"
#include "tests/kernels/emulated/emulated.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace kvilt::kernels::test {

std::vector<const KernelTable *> tablesUnderTest()
{
    const auto available = availableKernels();
    std::vector<const KernelTable *> tables{available.begin(), available.end()};
#ifdef KVILT_HAVE_SIMDE
    if (tables.size() > 1) { // the emulation itself needs AVX2
        tables.push_back(&emulatedbw::kTable);
        tables.push_back(&emulatedvnni::kTable);
        tables.push_back(&emulatedamx::kTable);
    }
#endif
    return tables;
}

AlignedBytes::AlignedBytes(std::size_t size) : m_bytes(size + 64, std::byte(0xff)), m_size(size)
{
    const auto address = reinterpret_cast<std::uintptr_t>(m_bytes.data());
    m_start = m_bytes.data() + (64 - address % 64) % 64;
}

bool AlignedBytes::operator==(const AlignedBytes &other) const
{
    return m_size == other.m_size && std::memcmp(m_start, other.m_start, m_size) == 0;
}

std::vector<float> randomFloats(Random &random, std::size_t n, float spread)
{
    std::normal_distribution<float> normal(0.0f, spread);
    std::vector<float> values(n);
    for (float &value : values)
        value = normal(random);
    return values;
}

float poison()
{
    return std::numeric_limits<float>::quiet_NaN();
}

namespace {

void putHalf(std::byte *at, float value)
{
    const std::uint16_t half = f32ToF16(value);
    std::memcpy(at, &half, 2);
}

} // namespace

std::vector<ScaleField> scaleFields(WeightType type)
{
    switch (type) {
    case WeightType::Q4_1:
    case WeightType::Q5_1:
    case WeightType::Q4_K:
    case WeightType::Q5_K: return {{0, 2}, {2, 2}};
    case WeightType::Q6_K: return {{208, 2}};
    case WeightType::Q2_K: return {{80, 2}, {82, 2}};
    case WeightType::Q3_K: return {{108, 2}};
    case WeightType::TQ1_0: return {{52, 2}};
    case WeightType::TQ2_0: return {{64, 2}};
    case WeightType::MXFP4: return {{0, 1}};
    case WeightType::IQ1_M: return {{55, 1}}; // sign and high exponent bits of the scale
    default: return {{0, 2}};
    }
}

std::vector<std::byte> randomWeights(Random &random, WeightType type, std::uint32_t rows, std::uint32_t cols)
{
    const WeightTypeInfo &typeInfo = info(type);
    std::vector<std::byte> bytes(rowBytes(type, cols) * rows);
    std::normal_distribution<float> normal(0.0f, 0.05f);
    if (typeInfo.blockElements == 1) {
        for (std::size_t i = 0; i < std::size_t(rows) * cols; ++i) {
            const float value = normal(random);
            if (type == WeightType::F32)
                std::memcpy(&bytes[4 * i], &value, 4);
            else if (type == WeightType::F16)
                putHalf(&bytes[2 * i], value);
            else
                std::memcpy(&bytes[2 * i], reinterpret_cast<const std::byte *>(&value) + 2, 2);
        }
        return bytes;
    }
    for (std::byte &byte : bytes)
        byte = std::byte(random() & 255);
    for (std::size_t at = 0; at < bytes.size(); at += typeInfo.blockBytes)
        for (const ScaleField field : scaleFields(type)) {
            if (field.bytes == 2)
                putHalf(&bytes[at + field.offset], normal(random) / (typeInfo.blockElements == 256 ? 64.0f : 4.0f));
            else if (type == WeightType::MXFP4)
                bytes[at] = std::byte(118 + random() % 8);
            else
                bytes[at + field.offset] = (bytes[at + field.offset] & std::byte(0x8f)) | std::byte(0x10);
        }
    return bytes;
}

Packed pack(WeightType type, std::uint32_t rows, std::uint32_t cols, const std::vector<std::byte> &weights)
{
    // The last bytes are poison that nobody may read into a result.
    Packed packed{{type, rows, cols, nullptr}, AlignedBytes(packedBytes(type, rows, cols) + 64)};
    packPanels({type, rows, cols, weights.data()}, 0, packed.matrix.panels(), packed.bytes.data());
    packed.matrix.data = packed.bytes.data();
    return packed;
}

AlignedBytes prepareRows(const KernelTable &table, ActivationFormat format, const std::vector<float> &x, std::uint32_t cols)
{
    const std::size_t stride = activationRowBytes(format, cols);
    const std::size_t tokens = x.size() / cols;
    AlignedBytes rows(stride * tokens);
    std::memset(rows.data(), 0, rows.size()); // padding is part of what tests compare
    for (std::size_t token = 0; token < tokens; ++token)
        table.prepareRow(format, x.data() + token * cols, cols, rows.data() + token * stride);
    return rows;
}

std::vector<float> matmul(const KernelTable &table, const Packed &weights, const AlignedBytes &rows, std::uint32_t tokens)
{
    const PackedMatrix &matrix = weights.matrix;
    AlignedBytes scratch(matmulScratchBytes(matrix.type, matrix.cols));
    std::vector<float> out(std::size_t(tokens) * matrix.rows, poison());
    MatmulArgs args;
    args.weights = matrix;
    args.x = {activationFormat(matrix.type), matrix.cols, tokens, rows.data()};
    args.panelEnd = matrix.panels();
    args.out = out.data();
    args.ldOut = matrix.rows;
    args.scratch = scratch.data();
    table.matmul(args);
    return out;
}

bool sameBits(const std::vector<float> &a, const std::vector<float> &b)
{
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double worstError(const std::vector<float> &a, const std::vector<double> &b)
{
    double worst = a.size() == b.size() ? 0 : HUGE_VAL;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        const double error = std::fabs(a[i] - b[i]) / (1 + std::fabs(b[i]));
        worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
    }
    return worst;
}

} // namespace kvilt::kernels::test
