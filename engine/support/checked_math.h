// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <optional>

namespace kvilt {

// Arithmetic on numbers that come from outside: no value when the result does not fit.
template <std::integral T>
[[nodiscard]] std::optional<T> checkedAdd(T a, T b)
{
    T r;
    return __builtin_add_overflow(a, b, &r) ? std::nullopt : std::optional<T>(r);
}

template <std::integral T>
[[nodiscard]] std::optional<T> checkedMul(T a, T b)
{
    T r;
    return __builtin_mul_overflow(a, b, &r) ? std::nullopt : std::optional<T>(r);
}

// Rounds up to a multiple of `alignment` (a power of two).
template <std::unsigned_integral T>
[[nodiscard]] std::optional<T> checkedAlignUp(T value, T alignment)
{
    auto sum = checkedAdd<T>(value, alignment - 1);
    return sum ? std::optional<T>(*sum & ~(alignment - 1)) : std::nullopt;
}

} // namespace kvilt
