// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"
#include "engine/backend/cuda/driver.h"
#include "engine/backend/cuda/plugin.h"

#include <memory>
#include <vector>

namespace kvilt::backend::cuda {

// The GPUs that a driver sees, in its order.
std::vector<FoundDevice> listDevices(const api::Driver &driver);

// A GPU through the driver. unsupported: no such GPU, none that the kernels run on, or a driver older than they need.
Result<std::unique_ptr<Device>> openDevice(DriverLibrary driver, KernelPlugin plugin, int ordinal, bool deterministic);

} // namespace kvilt::backend::cuda
