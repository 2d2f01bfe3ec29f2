// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/api/ops.h"

// Where things lie in a native block side (KvView in ops.h). Shared by the parts of the reference.
namespace kvilt::kernels::cuda::reference {

// Bytes of 32 elements without their scale, for q8 and q4; of one element for the others.
inline std::size_t codeBytes(KvElement type)
{
    switch (type) {
    case KvElement::f32: return 4;
    case KvElement::f16:
    case KvElement::bf16: return 2;
    case KvElement::fp8: return 1;
    case KvElement::q8: return 32;
    case KvElement::q4: return 16;
    }
    return 0;
}

inline bool isQuantised(KvElement type)
{
    return type == KvElement::q8 || type == KvElement::q4;
}

// Elements that codeBytes() and one scale stand for.
inline std::uint32_t unitElements(KvElement type)
{
    return isQuantised(type) ? 32 : 1;
}

inline std::size_t codeOffset(const KvShape &shape, std::uint32_t head, std::uint32_t token, std::uint32_t unit)
{
    const std::size_t units = shape.dim / unitElements(shape.type);
    return ((std::size_t(head) * shape.blockSize + token) * units + unit) * codeBytes(shape.type);
}

// Quantised types only: the f16 scale of a unit.
inline std::size_t scaleOffset(const KvShape &shape, std::uint32_t head, std::uint32_t token, std::uint32_t unit)
{
    const std::size_t units = shape.dim / 32;
    const std::size_t codes = std::size_t(shape.heads) * shape.blockSize * units * codeBytes(shape.type);
    return codes + ((std::size_t(head) * shape.blockSize + token) * units + unit) * 2;
}

void convert(const KvConvertOp &op);
void attend(const AttentionOp &op);
void sample(const SampleOp &op);

} // namespace kvilt::kernels::cuda::reference
