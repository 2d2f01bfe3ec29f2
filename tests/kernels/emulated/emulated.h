// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kernel_table.h"

// Tables whose instructions are emulated; they need a machine with AVX2, FMA and F16C.
namespace kvilt::kernels {
namespace emulatedbw {
extern const KernelTable kTable;
}
namespace emulatedvnni {
extern const KernelTable kTable;
}
namespace emulatedamx {
extern const KernelTable kTable;
}
} // namespace kvilt::kernels
