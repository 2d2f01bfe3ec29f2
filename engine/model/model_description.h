// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/settings.h"
#include "engine/kv/kv_layout.h"
#include "engine/model/architecture.h"
#include "engine/support/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace kvilt::gguf {
class GgufFile;
}

namespace kvilt::model {

// How one kind of layer rotates: the position p turns pair i by p * frequencyScale * base^(-2i / rotated) / factor[i].
struct RopeDescription {
    double base = 10000;
    double frequencyScale = 1; // 1 / linear scaling factor
    bool useFactors = false;   // divide by rope_freqs.weight
    bool operator==(const RopeDescription &) const = default;
};

// An architecture with one file's hyperparameters: everything that a backend needs besides the weights. A plain
// value; fromGguf() is the only maker and has checked every number.
struct ModelDescription {
    const Architecture *architecture = nullptr;
    std::uint32_t layers = 0;
    std::uint32_t width = 0;         // embedding length
    std::uint32_t vocabulary = 0;    // rows of the token embedding
    std::uint32_t contextLength = 0;
    std::uint32_t feedForward = 0;
    std::uint32_t heads = 0;
    std::uint32_t kvHeads = 0;       // divides heads
    std::uint32_t keyDim = 0;        // of one head, queries alike
    std::uint32_t valueDim = 0;
    std::uint32_t rotated = 0;       // even, at most keyDim
    float normEpsilon = 0;
    float attentionScale = 0;        // times q.k
    float embeddingScale = 1;
    RopeDescription rope;            // layers that see everything
    RopeDescription windowRope;      // windowed layers
    std::uint32_t window = 0;        // tokens a windowed layer sees, itself included; 0: no layer is windowed
    std::vector<bool> windowed;      // a layer

    std::uint32_t queryWidth() const { return heads * keyDim; }
    std::uint32_t keyWidth() const { return kvHeads * keyDim; }
    std::uint32_t valueWidth() const { return kvHeads * valueDim; }
    std::uint32_t attentionWidth() const { return heads * valueDim; }
    std::uint64_t extent(Extent which) const;
    bool has(TensorRole role) const; // the architecture names it

    // Reads and checks the hyperparameters. unsupported: an architecture or feature that is not built in; badInput:
    // missing, of the wrong type, or out of range. A file that holds only a vocabulary is refused here as well.
    static Result<ModelDescription> fromGguf(const gguf::GgufFile &file);
};

// Group 0 holds the layers that see everything, group 1 the windowed ones (either is left out when it has no layer).
// blockSize: a power of two from 16 to 512.
kv::KvLayout makeKvLayout(const ModelDescription &description, api::KvType kType, api::KvType vType,
                          std::uint32_t blockSize);

} // namespace kvilt::model
