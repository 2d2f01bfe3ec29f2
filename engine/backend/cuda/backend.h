// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/backend.h"
#include "engine/backend/cuda/device.h"

#include <memory>

namespace kvilt::backend::cuda {

// The CUDA backend on a device that has been opened. makeCudaBackend() (plugin.h) opens one; tests bring their own.
std::unique_ptr<Backend> backendOn(std::unique_ptr<Device> device);

} // namespace kvilt::backend::cuda
