// SPDX-License-Identifier: Apache-2.0
#pragma once

// Elementary functions in double, accurate to a few units in the last place, from IEEE operations in a fixed order:
// unlike libm's they give the same bits on every machine.
namespace kvilt::kernels {

struct SinCos {
    double sine, cosine;
};

double exactLog(double x);           // x > 0, normal
double exactExp(double x);           // |x| <= 700
SinCos exactSinCos(double angle);    // |angle| < 2^20

} // namespace kvilt::kernels
