// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model.h"

#include "kernels/api/weight_type.h"

#include <algorithm>

namespace kvilt::model {
namespace {

std::string shapeText(const gguf::TensorInfo &tensor)
{
    std::string text = std::to_string(tensor.dims[0]);
    for (std::uint32_t i = 1; i < tensor.dimensions; ++i)
        text += "x" + std::to_string(tensor.dims[i]);
    return text;
}

} // namespace

Result<std::shared_ptr<const Model>> Model::open(const std::string &path)
{
    KVILT_TRY(auto file, gguf::GgufFile::open(path));
    return load(std::move(file));
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const gguf::GgufFile> file)
{
    const std::shared_ptr<Model> model(new Model);
    KVILT_TRY(model->m_description, ModelDescription::fromGguf(*file));
    model->m_file = std::move(file);
    KVILT_TRY_VOID(model->bindTensors());
    KVILT_TRY_VOID(model->refuseUnknownTensors());
    return std::shared_ptr<const Model>(model);
}

std::size_t Model::slot(TensorRole role, std::uint32_t layer) const
{
    const auto index = static_cast<std::size_t>(role);
    return index < kFirstLayerRole ? index : std::size_t(layer) * kTensorRoles + index;
}

Result<void> Model::bindTensors()
{
    m_tensors.assign(std::size_t(m_description.layers) * kTensorRoles, nullptr);
    for (const TensorRule &rule : m_description.architecture->tensors) {
        const bool perLayer = static_cast<int>(rule.role) >= kFirstLayerRole;
        for (std::uint32_t layer = 0; layer < (perLayer ? m_description.layers : 1); ++layer)
            KVILT_TRY_VOID(bindTensor(rule, layer));
    }
    return {};
}

Result<void> Model::bindTensor(const TensorRule &rule, std::uint32_t layer)
{
    const std::string name = tensorName(rule, layer);
    const gguf::TensorInfo *tensor = m_file->findTensor(name);
    if (!tensor && !rule.required)
        return {};
    if (!tensor)
        return fail(ErrorCode::badInput, m_file->path() + " lacks the tensor '" + name + "'; it is damaged or no complete " +
                                             std::string(m_description.architecture->name) + " model.");
    const std::uint64_t rowLength = m_description.extent(rule.rowLength);
    const std::uint64_t rows = m_description.extent(rule.rows);
    if (tensor->dims[0] != rowLength || tensor->dims[1] != rows || tensor->dims[2] != 1 || tensor->dims[3] != 1)
        return fail(ErrorCode::badInput, m_file->path() + ": the tensor '" + name + "' has the shape " + shapeText(*tensor) +
                                             ", but the hyperparameters ask for " + std::to_string(rowLength) + "x" +
                                             std::to_string(rows) + ".");
    const bool vector = rule.rows == Extent::one;
    if (vector && tensor->type != gguf::TensorType::f32)
        return fail(ErrorCode::unsupported, m_file->path() + ": the tensor '" + name + "' is " +
                                                std::string(gguf::toString(tensor->type)) + "; such vectors must be F32.");
    if (!kernels::weightTypeFromGguf(static_cast<std::uint32_t>(tensor->type)))
        return fail(ErrorCode::unsupported, m_file->path() + ": the tensor '" + name + "' has the type " +
                                                std::string(gguf::toString(tensor->type)) +
                                                ", which this version of Kvilt cannot compute with.");
    m_tensors[slot(rule.role, layer)] = tensor;
    return {};
}

Result<void> Model::refuseUnknownTensors() const
{
    std::vector<const gguf::TensorInfo *> known = m_tensors;
    std::sort(known.begin(), known.end());
    for (const gguf::TensorInfo &tensor : m_file->tensors())
        if (!std::binary_search(known.begin(), known.end(), &tensor))
            return fail(ErrorCode::unsupported, m_file->path() + " has a tensor '" + gguf::printable(tensor.name) +
                                                    "' that this version of Kvilt does not know in a " +
                                                    std::string(m_description.architecture->name) + " model.");
    return {};
}

const gguf::TensorInfo *Model::tensor(TensorRole role, std::uint32_t layer) const
{
    return m_tensors[slot(role, layer)];
}

const gguf::TensorInfo &Model::head() const
{
    const gguf::TensorInfo *own = tensor(TensorRole::output);
    return own ? *own : *tensor(TensorRole::tokenEmbedding);
}

std::uint64_t Model::parameters() const
{
    std::uint64_t sum = 0;
    for (const gguf::TensorInfo &tensor : m_file->tensors())
        sum += tensor.elements();
    return sum;
}

std::map<std::string, std::uint64_t> Model::tensorTypes() const
{
    std::map<std::string, std::uint64_t> counts;
    for (const gguf::TensorInfo &tensor : m_file->tensors())
        ++counts[std::string(gguf::toString(tensor.type))];
    return counts;
}

std::string Model::quantisation() const
{
    // By weights of the layers' matrices: a tied embedding would outvote everything in a small model.
    std::map<gguf::TensorType, std::uint64_t> weights;
    for (const gguf::TensorInfo &tensor : m_file->tensors())
        if (tensor.dimensions > 1 && tensor.name.starts_with("blk."))
            weights[tensor.type] += tensor.elements();
    const auto most = std::max_element(weights.begin(), weights.end(),
                                       [](const auto &a, const auto &b) { return a.second < b.second; });
    return most == weights.end() ? std::string() : std::string(gguf::toString(most->first));
}

std::string Model::name() const
{
    const auto given = m_file->find<std::string_view>("general.name");
    if (given && *given && !(*given)->empty())
        return std::string(**given);
    const std::string &path = m_file->path();
    return path.substr(path.find_last_of('/') + 1);
}

} // namespace kvilt::model
