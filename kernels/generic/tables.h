// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/api/kernel_table.h"

// The tables of the instruction set folders; select.cpp decides which of them this machine can run.
namespace kvilt::kernels {
namespace scalar {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512bw {
extern const KernelTable kTable;
}
namespace avx512vnni {
extern const KernelTable kTable;
}
namespace amx {
extern const KernelTable kTable;
}
} // namespace kvilt::kernels
