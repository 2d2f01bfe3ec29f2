// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

namespace kvilt {

// Where time comes from, so that tests can say what time it is.
class Clock {
public:
    virtual ~Clock() = default;
    virtual std::uint64_t nowNs() const noexcept = 0; // CLOCK_REALTIME; may step backwards
};

class SystemClock final : public Clock {
public:
    std::uint64_t nowNs() const noexcept override
    {
        using namespace std::chrono;
        return std::uint64_t(duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count());
    }
};

class ManualClock final : public Clock {
public:
    std::uint64_t nowNs() const noexcept override { return ns; }
    std::uint64_t ns = 0;
};

} // namespace kvilt
