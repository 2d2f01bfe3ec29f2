// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/kv_shape.h"

#include "engine/api/conversation.h"

#include <string>

namespace kvilt::backend {
namespace {

kernels::KvElement elementOf(api::KvType type)
{
    switch (type) {
    case api::KvType::f32: return kernels::KvElement::f32;
    case api::KvType::f16: return kernels::KvElement::f16;
    case api::KvType::bf16: return kernels::KvElement::bf16;
    case api::KvType::q8: return kernels::KvElement::q8;
    case api::KvType::q4: return kernels::KvElement::q4;
    case api::KvType::fp8: return kernels::KvElement::fp8;
    }
    return kernels::KvElement::f32;
}

} // namespace

Result<kernels::KvShape> shapeOf(const kv::KvSide &side, std::uint32_t blockSize)
{
    const kernels::KvShape shape{elementOf(side.type), side.heads, side.dim, blockSize};
    if (kernels::kvShapeSupported(shape))
        return shape;
    return fail(ErrorCode::unsupported, "KV of type " + std::string(api::toString(side.type)) + " cannot hold heads of " +
                                            std::to_string(side.dim) + " elements; choose another --kv-type.");
}

} // namespace kvilt::backend
