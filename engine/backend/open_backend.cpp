// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/open_backend.h"

#include "engine/backend/cuda/plugin.h"

namespace kvilt::backend {

Result<std::unique_ptr<Backend>> openBackend(const api::EngineSettings &settings)
{
    if (settings.backend == "cpu")
        return makeCpuBackend();
    auto cuda = cuda::makeCudaBackend();
    return cuda || settings.backend == "cuda" ? std::move(cuda) : makeCpuBackend();
}

} // namespace kvilt::backend
