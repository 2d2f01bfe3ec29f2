// SPDX-License-Identifier: Apache-2.0
#include "tests/support/reference_forward.h"

#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kvilt::test {
namespace {

using model::TensorRole;
using Vector = std::vector<double>;
namespace reference = kernels::reference;

struct Matrix {
    std::size_t rows = 0, cols = 0;
    Vector values;
    Vector times(const Vector &x) const
    {
        Vector out(rows, 0);
        for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t c = 0; c < cols; ++c)
                out[r] += values[r * cols + c] * x[c];
        return out;
    }
};

Matrix matrixOf(const model::Model &model, const gguf::TensorInfo &tensor)
{
    Matrix out{tensor.dims[1], tensor.dims[0], Vector(tensor.elements())};
    const auto type = static_cast<kernels::WeightType>(tensor.type);
    const std::byte *data = model.bytes(tensor).data();
    for (std::size_t r = 0; r < out.rows; ++r) {
        const auto row = reference::weights(type, data + r * kernels::rowBytes(type, out.cols), static_cast<std::uint32_t>(out.cols));
        std::copy(row.begin(), row.end(), out.values.begin() + static_cast<std::ptrdiff_t>(r * out.cols));
    }
    return out;
}

Vector vectorOf(const model::Model &model, TensorRole role, std::uint32_t layer = 0)
{
    const gguf::TensorInfo *tensor = model.tensor(role, layer);
    return tensor ? matrixOf(model, *tensor).values : Vector();
}

void normalise(double *x, const Vector &weight, double epsilon)
{
    double sum = 0;
    for (std::size_t i = 0; i < weight.size(); ++i)
        sum += x[i] * x[i];
    const double factor = 1 / std::sqrt(sum / static_cast<double>(weight.size()) + epsilon);
    for (std::size_t i = 0; i < weight.size(); ++i)
        x[i] *= factor * weight[i];
}

Vector normalised(Vector x, const Vector &weight, double epsilon)
{
    normalise(x.data(), weight, epsilon);
    return x;
}

void addTo(Vector &x, const Vector &y)
{
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] += y[i];
}

class Forward {
public:
    Forward(const model::Model &model, std::span<const TokenId> tokens) : m_model(model), m_d(model.description()), m_tokens(tokens) {}

    Vector run()
    {
        const Matrix embedding = matrixOf(m_model, *m_model.tensor(TensorRole::tokenEmbedding));
        m_factors = vectorOf(m_model, TensorRole::ropeFactors);
        for (const TokenId token : m_tokens) {
            Vector x(m_d.width);
            for (std::size_t i = 0; i < x.size(); ++i)
                x[i] = embedding.values[static_cast<std::size_t>(token) * m_d.width + i] * m_d.embeddingScale;
            m_hidden.push_back(x);
        }
        for (std::uint32_t layer = 0; layer < m_d.layers; ++layer) {
            attention(layer);
            feedForward(layer);
        }
        const Matrix head = matrixOf(m_model, m_model.head());
        const Vector norm = vectorOf(m_model, TensorRole::outputNorm);
        Vector logits;
        for (const Vector &x : m_hidden) {
            const Vector row = head.times(normalised(x, norm, m_d.normEpsilon));
            logits.insert(logits.end(), row.begin(), row.end());
        }
        return logits;
    }

private:
    void rotate(double *head, std::size_t position, bool windowed) const
    {
        const model::RopeDescription &rope = windowed ? m_d.windowRope : m_d.rope;
        const std::size_t half = m_d.rotated / 2;
        for (std::size_t i = 0; i < half; ++i) {
            double frequency = std::pow(rope.base, -2.0 * static_cast<double>(i) / m_d.rotated) * rope.frequencyScale;
            if (rope.useFactors)
                frequency /= m_factors[i];
            const double angle = static_cast<double>(position) * frequency;
            const bool halves = m_d.architecture->rope == model::RopeLayout::halves;
            double &a = head[halves ? i : 2 * i];
            double &b = head[halves ? i + half : 2 * i + 1];
            const double x = a, y = b;
            a = x * std::cos(angle) - y * std::sin(angle);
            b = x * std::sin(angle) + y * std::cos(angle);
        }
    }

    // Norms (where the model does) and turns every head of a row.
    void prepareHeads(Vector &row, std::uint32_t heads, TensorRole norm, std::uint32_t layer, std::size_t position) const
    {
        const Vector weight = vectorOf(m_model, norm, layer);
        for (std::uint32_t h = 0; h < heads; ++h) {
            if (!weight.empty())
                normalise(&row[h * m_d.keyDim], weight, m_d.normEpsilon);
            rotate(&row[h * m_d.keyDim], position, m_d.windowed[layer]);
        }
    }

    Vector attend(const Vector &query, std::size_t position, std::uint32_t layer) const
    {
        const std::size_t begin = m_d.windowed[layer] && position + 1 > m_d.window ? position + 1 - m_d.window : 0;
        Vector out(m_d.attentionWidth(), 0);
        for (std::uint32_t h = 0; h < m_d.heads; ++h) {
            const std::uint32_t kvHead = h / (m_d.heads / m_d.kvHeads);
            Vector weights;
            double sum = 0;
            for (std::size_t p = begin; p <= position; ++p) {
                double score = 0;
                for (std::uint32_t i = 0; i < m_d.keyDim; ++i)
                    score += query[h * m_d.keyDim + i] * m_keys[p][kvHead * m_d.keyDim + i];
                weights.push_back(std::exp(score * m_d.attentionScale)); // tiny models: no overflow to guard against
                sum += weights.back();
            }
            for (std::size_t p = begin; p <= position; ++p)
                for (std::uint32_t i = 0; i < m_d.valueDim; ++i)
                    out[h * m_d.valueDim + i] += weights[p - begin] / sum * m_values[p][kvHead * m_d.valueDim + i];
        }
        return out;
    }

    void attention(std::uint32_t layer)
    {
        const Matrix query = matrixOf(m_model, *m_model.tensor(TensorRole::query, layer));
        const Matrix key = matrixOf(m_model, *m_model.tensor(TensorRole::key, layer));
        const Matrix value = matrixOf(m_model, *m_model.tensor(TensorRole::value, layer));
        const Matrix output = matrixOf(m_model, *m_model.tensor(TensorRole::attentionOutput, layer));
        const Vector norm = vectorOf(m_model, TensorRole::attentionNorm, layer);
        m_keys.clear();
        m_values.clear();
        for (std::size_t p = 0; p < m_hidden.size(); ++p) {
            const Vector x = normalised(m_hidden[p], norm, m_d.normEpsilon);
            Vector q = query.times(x);
            Vector k = key.times(x);
            prepareHeads(q, m_d.heads, TensorRole::queryNorm, layer, p);
            prepareHeads(k, m_d.kvHeads, TensorRole::keyNorm, layer, p);
            m_keys.push_back(k);
            m_values.push_back(value.times(x));
            addLayer(p, output.times(attend(q, p, layer)), TensorRole::postAttentionNorm, layer);
        }
    }

    void feedForward(std::uint32_t layer)
    {
        const Matrix gate = matrixOf(m_model, *m_model.tensor(TensorRole::gate, layer));
        const Matrix up = matrixOf(m_model, *m_model.tensor(TensorRole::up, layer));
        const Matrix down = matrixOf(m_model, *m_model.tensor(TensorRole::down, layer));
        const Vector norm = vectorOf(m_model, TensorRole::feedForwardNorm, layer);
        for (std::size_t p = 0; p < m_hidden.size(); ++p) {
            const Vector x = normalised(m_hidden[p], norm, m_d.normEpsilon);
            Vector g = gate.times(x);
            const Vector u = up.times(x);
            for (std::size_t i = 0; i < g.size(); ++i)
                g[i] = (m_d.architecture->activation == model::Activation::silu ? reference::silu(g[i]) : reference::gelu(g[i])) * u[i];
            addLayer(p, down.times(g), TensorRole::postFeedForwardNorm, layer);
        }
    }

    void addLayer(std::size_t position, Vector delta, TensorRole norm, std::uint32_t layer)
    {
        const Vector weight = vectorOf(m_model, norm, layer);
        addTo(m_hidden[position], weight.empty() ? delta : normalised(std::move(delta), weight, m_d.normEpsilon));
    }

    const model::Model &m_model;
    const model::ModelDescription &m_d;
    std::span<const TokenId> m_tokens;
    Vector m_factors;
    std::vector<Vector> m_hidden, m_keys, m_values;
};

} // namespace

std::vector<double> referenceLogits(const model::Model &model, std::span<const TokenId> tokens)
{
    return Forward(model, tokens).run();
}

} // namespace kvilt::test
