// SPDX-License-Identifier: Apache-2.0
#include "kernels/reference/reference.h"

#include "kernels/layout/dequantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kvilt::kernels::reference {
namespace {

unsigned byteAt(const std::byte *p, std::size_t i)
{
    return std::to_integer<unsigned>(p[i]);
}

int signedByteAt(const std::byte *p, std::size_t i)
{
    const int value = int(byteAt(p, i));
    return value >= 128 ? value - 256 : value;
}

// Weight i of a 32-block whose nibbles start at `nibbles`: the first sixteen are the low ones.
int nibbleOf32(const std::byte *nibbles, std::uint32_t i)
{
    return int(i < 16 ? byteAt(nibbles, i) % 16 : byteAt(nibbles, i - 16) / 16);
}

int bitOf(const std::byte *bits, std::uint32_t i)
{
    return int(byteAt(bits, i / 8) >> (i % 8)) & 1;
}

struct ScaleMin {
    int scale, min;
};

// The 6-bit pairs of Q4_K and Q5_K.
ScaleMin pairOf(const std::byte *s, std::uint32_t group)
{
    if (group < 4)
        return {int(byteAt(s, group) % 64), int(byteAt(s, group + 4) % 64)};
    return {int(byteAt(s, group + 4) % 16 + byteAt(s, group - 4) / 64 * 16),
            int(byteAt(s, group + 4) / 16 + byteAt(s, group) / 64 * 16)};
}

int nibbleOf256(const std::byte *nibbles, std::uint32_t i)
{
    const unsigned byte = byteAt(nibbles, i / 64 * 32 + i % 32);
    return int(i % 64 < 32 ? byte % 16 : byte / 16);
}

double superBlock45(const std::byte *block, std::uint32_t i, bool five)
{
    const ScaleMin pair = pairOf(block + 4, i / 32);
    int code = nibbleOf256(block + (five ? 48 : 16), i);
    if (five)
        code += 16 * (int(byteAt(block, 16 + i % 32) >> (i / 32)) & 1);
    return half(block) * pair.scale * code - half(block + 2) * pair.min;
}

double q6k(const std::byte *block, std::uint32_t i)
{
    const std::uint32_t within = i % 128, quarter = within / 32, column = within % 32;
    const unsigned low = byteAt(block, i / 128 * 64 + quarter % 2 * 32 + column);
    const unsigned high = byteAt(block, 128 + i / 128 * 32 + column) >> (2 * quarter);
    const int code = int(quarter < 2 ? low % 16 : low / 16) + 16 * int(high % 4) - 32;
    return half(block + 208) * signedByteAt(block, 192 + i / 16) * code;
}

constexpr int kUneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

double iq4xs(const std::byte *block, std::uint32_t i)
{
    const std::uint32_t group = i / 32;
    const int low = group % 2 ? int(byteAt(block, 4 + group / 2) / 16) : int(byteAt(block, 4 + group / 2) % 16);
    const int high = int(byteAt(block, 2 + group / 4) >> (2 * (group % 4))) & 3;
    return half(block) * (low + 16 * high - 32) * kUneven[nibbleOf32(block + 8 + 16 * group, i % 32)];
}

// e2m1: sign, two exponent bits, one mantissa bit, times 2^(exponent - 127).
double mxfp4(const std::byte *block, std::uint32_t i)
{
    const int code = nibbleOf32(block + 1, i);
    const double magnitude = code % 8 < 2 ? code % 8 * 0.5 : std::ldexp(1 + code % 2 * 0.5, code % 8 / 2 - 1);
    return std::ldexp(code < 8 ? magnitude : -magnitude, int(byteAt(block, 0)) - 127);
}

} // namespace

double half(const std::byte *at)
{
    const unsigned bits = byteAt(at, 0) + 256 * byteAt(at, 1);
    const int exponent = int(bits >> 10) & 31;
    const double mantissa = (bits & 1023) / 1024.0;
    const double magnitude = exponent == 0    ? std::ldexp(mantissa, -14)
                             : exponent == 31 ? (mantissa > 0 ? std::nan("") : HUGE_VAL)
                                              : std::ldexp(1 + mantissa, exponent - 15);
    return bits & 0x8000 ? -magnitude : magnitude;
}

double weight(WeightType type, const std::byte *row, std::uint32_t k)
{
    const WeightTypeInfo &typeInfo = info(type);
    const std::byte *block = row + k / typeInfo.blockElements * std::size_t(typeInfo.blockBytes);
    const std::uint32_t i = k % typeInfo.blockElements;
    float single;
    switch (type) {
    case WeightType::F32: std::memcpy(&single, block, 4); return single;
    case WeightType::F16: return half(block);
    case WeightType::BF16: {
        const std::byte wide[4] = {std::byte(0), std::byte(0), block[0], block[1]};
        std::memcpy(&single, wide, 4);
        return single;
    }
    case WeightType::Q4_0: return half(block) * (nibbleOf32(block + 2, i) - 8);
    case WeightType::Q4_1: return half(block) * nibbleOf32(block + 4, i) + half(block + 2);
    case WeightType::Q5_0: return half(block) * (nibbleOf32(block + 6, i) + 16 * bitOf(block + 2, i) - 16);
    case WeightType::Q5_1: return half(block) * (nibbleOf32(block + 8, i) + 16 * bitOf(block + 4, i)) + half(block + 2);
    case WeightType::Q8_0: return half(block) * signedByteAt(block, 2 + i);
    case WeightType::Q4_K: return superBlock45(block, i, false);
    case WeightType::Q5_K: return superBlock45(block, i, true);
    case WeightType::Q6_K: return q6k(block, i);
    case WeightType::IQ4_NL: return half(block) * kUneven[nibbleOf32(block + 2, i)];
    case WeightType::IQ4_XS: return iq4xs(block, i);
    case WeightType::MXFP4: return mxfp4(block, i);
    default: return std::nan("");
    }
}

std::vector<double> weights(WeightType type, const std::byte *row, std::uint32_t cols)
{
    std::vector<double> out(cols);
    if (!std::isnan(weight(type, row, 0))) {
        for (std::uint32_t k = 0; k < cols; ++k)
            out[k] = weight(type, row, k);
        return out;
    }
    std::vector<float> floats(cols);
    dequantiseGgufRow(type, row, cols, floats.data());
    std::copy(floats.begin(), floats.end(), out.begin());
    return out;
}

std::vector<double> rmsNorm(const std::vector<float> &x, const std::vector<float> &weight, double eps)
{
    double sum = 0;
    for (const float v : x)
        sum += double(v) * v;
    std::vector<double> out;
    for (std::size_t i = 0; i < x.size(); ++i)
        out.push_back(x[i] / std::sqrt(sum / double(x.size()) + eps) * weight[i]);
    return out;
}

double silu(double x)
{
    return x / (1 + std::exp(-x));
}

double gelu(double x)
{
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

std::vector<double> rope(RopeKind kind, const std::vector<float> &head, std::uint32_t rotated, double base, double position)
{
    std::vector<double> out(head.begin(), head.end());
    for (std::uint32_t i = 0; i < rotated / 2; ++i) {
        const std::size_t a = kind == RopeKind::norm ? 2 * i : i;
        const std::size_t b = kind == RopeKind::norm ? 2 * i + 1 : i + rotated / 2;
        const double angle = position * std::pow(base, -2.0 * i / rotated);
        out[a] = head[a] * std::cos(angle) - head[b] * std::sin(angle);
        out[b] = head[a] * std::sin(angle) + head[b] * std::cos(angle);
    }
    return out;
}

std::vector<double> rotated(const std::vector<double> &head)
{
    std::size_t run = 1;
    while (run < 256 && head.size() % (2 * run) == 0)
        run *= 2;
    std::vector<double> out(head.size(), 0.0);
    for (std::size_t i = 0; i < head.size(); ++i)
        for (std::size_t j = i / run * run; j < (i / run + 1) * run; ++j)
            out[i] += (__builtin_popcountll(i % run & j % run) % 2 ? -head[j] : head[j]) / std::sqrt(double(run));
    return out;
}

std::vector<double> attention(const std::vector<double> &query, const std::vector<std::vector<double>> &keys,
                              const std::vector<std::vector<double>> &values, std::size_t begin, std::size_t end,
                              double scale)
{
    std::vector<double> scores;
    double most = -HUGE_VAL;
    for (std::size_t j = begin; j < end; ++j) {
        double score = 0;
        for (std::size_t d = 0; d < query.size(); ++d)
            score += query[d] * keys[j][d];
        score *= scale;
        scores.push_back(score);
        most = std::max(most, score);
    }
    double sum = 0;
    std::vector<double> out(values[begin].size(), 0.0);
    for (std::size_t j = begin; j < end; ++j) {
        const double share = std::exp(scores[j - begin] - most);
        sum += share;
        for (std::size_t d = 0; d < out.size(); ++d)
            out[d] += share * values[j][d];
    }
    for (double &v : out)
        v /= sum;
    return out;
}

} // namespace kvilt::kernels::reference
