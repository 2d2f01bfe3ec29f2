// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/rope.h"

#include "kernels/layout/exact_math.h"

#include <algorithm>
#include <cmath>

namespace kvilt::kernels {
namespace {

constexpr double kTwoPi = 6.283185307179586;

// YaRN: the dim whose wave turns `turns` times within the original context.
double dimOfTurns(const RopeSettings &settings, double turns)
{
    return settings.rotated * exactLog(settings.originalContext / (turns * kTwoPi)) / (2 * exactLog(settings.base));
}

// 1: keep the frequency (it turns often within the original context), 0: interpolate it.
double extrapolatedShare(const RopeSettings &settings, std::uint32_t i)
{
    const double low = std::max(0.0, std::floor(dimOfTurns(settings, settings.betaFast)));
    const double high = std::min(settings.rotated - 1.0, std::ceil(dimOfTurns(settings, settings.betaSlow)));
    return 1 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
}

} // namespace

void ropeRow(const RopeSettings &settings, std::uint32_t position, float *cosSin) noexcept
{
    const std::uint32_t half = settings.rotated / 2;
    const double logBase = exactLog(settings.base);
    const bool yarn = settings.extFactor != 0;
    const double magnitude = settings.attnFactor * (yarn ? 1 + 0.1 * exactLog(1 / settings.freqScale) : 1.0);
    for (std::uint32_t i = 0; i < half; ++i) {
        const double frequency = exactExp(-2.0 * i / settings.rotated * logBase);
        const double full = position * frequency / (settings.freqFactors.empty() ? 1.0 : settings.freqFactors[i]);
        double angle = full * settings.freqScale;
        if (yarn) {
            const double share = extrapolatedShare(settings, i) * settings.extFactor;
            angle = angle * (1 - share) + full * share;
        }
        const SinCos value = exactSinCos(angle);
        cosSin[i] = float(value.cosine * magnitude);
        cosSin[half + i] = float(value.sine * magnitude);
    }
}

} // namespace kvilt::kernels
