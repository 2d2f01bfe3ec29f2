// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/device_weights.h"
#include "kernels/cuda/api/emit.h"
#include "tests/kernels/kernel_test.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

// What the tests of CUDA kernels share: device memory that is host memory, matrices in device form, operations run by the
// emulator or the reference.
namespace kvilt::kernels::cuda::test {

using kernels::test::AlignedBytes;
using kernels::test::Random;

// Device memory of T, all NaNs (or -1) until it is written.
template <typename T>
class DeviceArray {
public:
    explicit DeviceArray(std::size_t count) : m_bytes(count * sizeof(T)), m_count(count) {}
    explicit DeviceArray(const std::vector<T> &values) : DeviceArray(values.size())
    {
        if (!values.empty())
            std::memcpy(m_bytes.data(), values.data(), values.size() * sizeof(T));
    }
    T *data() { return reinterpret_cast<T *>(m_bytes.data()); }
    T &operator[](std::size_t i) { return data()[i]; }
    std::size_t size() const { return m_count; }
    std::vector<T> values() { return {data(), data() + m_count}; }

private:
    AlignedBytes m_bytes;
    std::size_t m_count;
};

struct DeviceMatrix {
    Matrix matrix;
    std::shared_ptr<AlignedBytes> bytes;
};
DeviceMatrix packMatrix(WeightType type, std::uint32_t rows, std::uint32_t cols, const std::vector<std::byte> &weights);
DeviceMatrix randomMatrix(Random &random, WeightType type, std::uint32_t rows, std::uint32_t cols);

DeviceFacts hopper(); // 227 KiB of shared memory, own kernels only
DeviceFacts turing(); // 64 KiB
DeviceFacts hopperFast(); // with warpgroups, not deterministic, without cuBLASLt

// Every launch of the operation, one after the other; the scratch is poisoned before. Empty, or the emulator's error.
std::string emulate(const Op &op, const DeviceFacts &device, std::uint32_t seed = 0);

std::vector<Launch> launchesOf(const Op &op, const DeviceFacts &device, std::byte *scratch);

// The product of `tokens` float rows with a whole matrix.
ProjectOp projectOp(const DeviceMatrix &w, DeviceArray<float> &in, DeviceArray<float> &out, std::uint32_t tokens);

// Mean square error over mean square of `want`; infinite where `got` is NaN.
template <typename Wanted>
double nmse(const std::vector<float> &got, const std::vector<Wanted> &want)
{
    double error = 0, power = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        error += (got[i] - double(want[i])) * (got[i] - double(want[i]));
        power += double(want[i]) * double(want[i]);
    }
    return got.size() != want.size() || std::isnan(error) ? HUGE_VAL : error / (power > 0 ? power : 1);
}

inline constexpr double kFloatError = 1e-6;  // of products with float inputs, and of attention
inline constexpr double kInt8Error = 5e-4;   // where inputs are rounded to int8
bool isFloat(WeightType type);
inline double tolerance(WeightType type) { return isFloat(type) ? kFloatError : kInt8Error; }

// Tokens of a SampleOp, and one more place after them that must stay 17; by the emulator (empty: it failed) or the reference.
// Here because Qt takes a field's name for a keyword.
std::vector<std::int32_t> sampleTokens(const std::vector<SampleSlot> &places, const std::vector<float> &logits,
                                       const std::vector<std::int32_t> &history, std::uint32_t vocabulary, bool greedyOnly, bool reference);

std::uint32_t colsFor(WeightType type, std::uint32_t cols); // rounded up to the type's block

} // namespace kvilt::kernels::cuda::test
