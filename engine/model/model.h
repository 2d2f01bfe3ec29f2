// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/gguf/gguf_file.h"
#include "engine/model/model_description.h"

#include <map>
#include <memory>
#include <string>

namespace kvilt::model {

// Immutable weights and hyperparameters. Weights are views into the mapped file, each checked against the shape that
// the hyperparameters ask for; nothing is read or copied here, so loading costs only the header. Any thread may read.
class Model {
public:
    // Refuses a file that lacks a tensor, has one of another shape or of a type no kernel reads, or has one that the
    // architecture does not know (its result would silently be wrong).
    static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const gguf::GgufFile> file);
    static Result<std::shared_ptr<const Model>> open(const std::string &path);

    const ModelDescription &description() const { return m_description; }
    const gguf::GgufFile &file() const { return *m_file; }
    const std::shared_ptr<const gguf::GgufFile> &sharedFile() const { return m_file; }

    // Null where the architecture or this file has none. `layer` counts for roles that stand once a layer.
    const gguf::TensorInfo *tensor(TensorRole role, std::uint32_t layer = 0) const;
    std::span<const std::byte> bytes(const gguf::TensorInfo &tensor) const { return m_file->tensorBytes(tensor); }
    // The output head: "output.weight", or the token embedding when the file ties them.
    const gguf::TensorInfo &head() const;
    bool headTied() const { return tensor(TensorRole::output) == nullptr; }

    std::uint64_t parameters() const;                       // elements of all tensors
    std::map<std::string, std::uint64_t> tensorTypes() const; // type name -> tensors
    std::string quantisation() const;                       // the type that most weights have: "Q4_1"
    std::string name() const;                               // general.name, or the file's name

private:
    Model() = default;
    Result<void> bindTensors();
    Result<void> bindTensor(const TensorRule &rule, std::uint32_t layer);
    Result<void> refuseUnknownTensors() const;
    std::size_t slot(TensorRole role, std::uint32_t layer) const;

    std::shared_ptr<const gguf::GgufFile> m_file;
    ModelDescription m_description;
    std::vector<const gguf::TensorInfo *> m_tensors; // kTensorRoles a layer; once-only roles in layer 0's
};

} // namespace kvilt::model
