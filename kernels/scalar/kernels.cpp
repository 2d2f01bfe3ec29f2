// SPDX-License-Identifier: Apache-2.0
#define KVILT_UNROLL
#include "kernels/generic/target.h"
#include "kernels/generic/tables.h"


namespace kvilt::kernels::scalar {
namespace {
#include "kernels/scalar/vocabulary.h"

#include "kernels/generic/kernels.inl"
} // namespace
} // namespace kvilt::kernels::scalar

namespace kvilt::kernels::scalar {

const KernelTable kTable = makeTable("scalar");

} // namespace kvilt::kernels::scalar
