# SPDX-License-Identifier: Apache-2.0
"""Writes kernels/layout/code_grids.inc: which lattice points the codebooks of GGUF's IQ types hold.

The points are facts of the file format; this reads them from the `gguf` Python package and writes one bit a point. A point
is a number whose digits (lowest first) say which of the type's values each of its 8 (or 4) weights has; a code is the
rank of its point among those that are present.

    python3 make_code_grids.py > ../../kernels/layout/code_grids.inc
"""
import numpy as np
from gguf import quants

BOOKS = [("kIq2Xxs", quants.IQ2_XXS), ("kIq2Xs", quants.IQ2_XS), ("kIq2S", quants.IQ2_S),
         ("kIq1", quants.IQ1_S), ("kIq3Xxs", quants.IQ3_XXS), ("kIq3S", quants.IQ3_S)]

print("// SPDX-License-Identifier: Apache-2.0")
print("// Written by tests/kernels/make_code_grids.py, which says what the bits mean.")
for name, book in BOOKS:
    book.init_grid()
    grid = np.array(book.grid).reshape(book.grid_shape)
    values = sorted(set(grid.flatten()))
    digits = np.searchsorted(values, grid)
    base, count = len(values), grid.shape[1]
    points = [int(x) for x in (digits * base ** np.arange(count)).sum(1)]
    assert points == sorted(set(points))
    bits = sum(1 << p for p in points)
    words = [(bits >> (64 * i)) & (2 ** 64 - 1) for i in range((base ** count + 63) // 64)]
    print(f"constexpr std::uint64_t {name}Points[] = {{ // {len(points)} of {base}^{count}")
    for i in range(0, len(words), 6):
        print("    " + " ".join(f"0x{w:016x}," for w in words[i:i + 6]))
    print("};")
