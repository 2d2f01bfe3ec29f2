// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/rope.h"

#include "kernels/layout/exact_math.h"

namespace kvilt::kernels {

void ropeRow(const RopeSettings &settings, std::uint32_t position, float *cosSin) noexcept
{
    const std::uint32_t half = settings.rotated / 2;
    const double logBase = exactLog(settings.base);
    for (std::uint32_t i = 0; i < half; ++i) {
        const double frequency = exactExp(-2.0 * i / settings.rotated * logBase);
        const double full = position * frequency / (settings.freqFactors.empty() ? 1.0 : settings.freqFactors[i]);
        const SinCos value = exactSinCos(full * settings.freqScale);
        cosSin[i] = float(value.cosine);
        cosSin[half + i] = float(value.sine);
    }
}

} // namespace kvilt::kernels
