// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/device.h"

#include <functional>
#include <string>

namespace kvilt::cudacheck {

// Times operations in the shapes of Llama 3 8B and prints each as a share of what the same run measured: the rate of copies
// within device memory, and, where cuBLASLt is there, its bf16 product. A sentence per line; the error that stopped it.
Result<void> runBench(backend::cuda::Device &device, const std::function<void(const std::string &line)> &print);

} // namespace kvilt::cudacheck
