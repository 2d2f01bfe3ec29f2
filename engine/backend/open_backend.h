// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/settings.h"
#include "engine/backend/backend.h"

namespace kvilt::backend {

// The backend that settings.backend names, without an engine around it; "auto": the GPU where one can be used, else the CPU.
Result<std::unique_ptr<Backend>> openBackend(const api::EngineSettings &settings);

} // namespace kvilt::backend
