// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/backend/cuda/kv_memory.h"
#include "engine/backend/cuda/step_image.h"
#include "engine/backend/cuda/step_memory.h"
#include "engine/backend/cuda/weights.h"
#include "engine/backend/cuda/workspace.h"

#include <vector>

namespace kvilt::backend::cuda {

// What the operations of any step read and write; all of it outlives them.
struct OpContext {
    const model::ModelDescription &description;
    const kv::KvLayout &layout;
    const Weights &weights;
    const Workspace &workspace;
    const RopeTables &rope;
    const std::vector<KvGroup> &groups;
};

// An operation and the layer it belongs to, so that a restored layer can be waited for before its first one.
struct StepOp {
    std::uint32_t layer = 0;
    bool firstOfLayer = false;
    kernels::cuda::Op op;
};

// One step, operation by operation. Per layer: norm + QKV + rotation + KV write, attention, output projection, norm + gate/up +
// activation, down projection. The last layer stores keys and values of all rows and goes on only with those whose logits are
// wanted. `longest`: positions that attention has to reckon with (a graph serves every step up to it).
std::vector<StepOp> stepOps(const OpContext &context, const StepImage &image, const StepPointers &at, std::uint32_t longest, float *logits);

} // namespace kvilt::backend::cuda
