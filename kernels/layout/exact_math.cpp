// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/exact_math.h"

#include <cmath>

namespace kvilt::kernels {
namespace {

constexpr double kLn2High = 0x1.62e42fep-1;           // 26 bits, so that n * kLn2High is exact for |n| < 2^26
constexpr double kLn2Low = 0x1.f473de6af278fp-30;     // ln 2 - kLn2High
constexpr double kHalfPiHigh = 0x1.921fb544p0;        // 33 bits
constexpr double kHalfPiMiddle = 0x1.0b4611a6p-34;    // the next 33
constexpr double kHalfPiLow = 0x1.3198a2e037073p-69;  // the rest

// 1 + x / (f (f + 1)) * (1 + x / ((f + 2) (f + 3)) * (1 + ...)) with f = first
double factorialSeries(double x, int first, int terms)
{
    double sum = 1;
    for (int i = terms - 1; i >= 0; --i)
        sum = 1 + x * sum / ((first + 2 * i) * double(first + 2 * i + 1));
    return sum;
}

} // namespace

double exactLog(double x)
{
    int exponent = 0;
    double mantissa = std::frexp(x, &exponent); // [0.5, 1)
    if (mantissa < 0.7071067811865476) {
        mantissa *= 2;
        --exponent;
    }
    const double s = (mantissa - 1) / (mantissa + 1); // ln m = 2 (s + s^3/3 + s^5/5 + ...), |s| < 0.172
    const double square = s * s;
    double sum = 0;
    for (int k = 23; k >= 3; k -= 2)
        sum = (sum + 1.0 / k) * square;
    return exponent * kLn2High + (2 * s + (2 * s * sum + exponent * kLn2Low));
}

double exactExp(double x)
{
    const double n = std::nearbyint(x * 1.4426950408889634);
    const double r = (x - n * kLn2High) - n * kLn2Low;
    double sum = 1;
    for (int k = 14; k >= 1; --k)
        sum = 1 + r * sum / k;
    return std::ldexp(sum, int(n));
}

SinCos exactSinCos(double angle)
{
    const double quarters = std::nearbyint(angle * 0.6366197723675814);
    const double r = ((angle - quarters * kHalfPiHigh) - quarters * kHalfPiMiddle) - quarters * kHalfPiLow;
    const double square = -(r * r);
    const double sine = r * factorialSeries(square, 2, 9);
    const double cosine = factorialSeries(square, 1, 9);
    switch (static_cast<long long>(quarters) & 3) {
    case 0: return {sine, cosine};
    case 1: return {cosine, -sine};
    case 2: return {-sine, -cosine};
    default: return {-cosine, sine};
    }
}

} // namespace kvilt::kernels
