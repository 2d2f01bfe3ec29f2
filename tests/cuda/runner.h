// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "tests/cuda/cases.h"

#include <functional>
#include <string>

// Runs cases on a Device and tells how each went.
namespace kvilt::cudacheck {

struct Report {
    int passed = 0, failed = 0;
    std::function<void(const std::string &line)> print;
    void add(bool good, const std::string &name, const std::string &detail);
};

// Device memory of one run; contents are uploaded as they are placed.
class DeviceArena final : public Arena {
public:
    explicit DeviceArena(backend::cuda::Device &device) : m_device(device) {}
    ~DeviceArena() override; // after the work queued so far
    std::byte *place(std::vector<std::byte> content) override; // null after an error
    Result<std::vector<std::byte>> fetch(const Output &output);
    const Result<void> &status() const { return m_status; }

private:
    Result<void> wait();
    backend::cuda::Device &m_device;
    std::vector<backend::cuda::Memory> m_memory;
    Result<void> m_status;
};

// Every case against the reference, then, on a deterministic device, every twin against its twin; another runs fastCases() only.
// `filter`: only names that contain it.
void runCases(backend::cuda::Device &device, bool quick, const std::string &filter, Report &report);

} // namespace kvilt::cudacheck
