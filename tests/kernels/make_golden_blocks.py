# SPDX-License-Identifier: Apache-2.0
"""Writes tests/kernels/golden_blocks.inc: what the `gguf` Python package makes of fixed blocks of every type.

    python3 make_golden_blocks.py > golden_blocks.inc
"""
import numpy as np
import gguf

SCALES = {"BF16": (), "Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "Q2_K": (80, 82),
          "Q3_K": (108,), "TQ1_0": (52,), "TQ2_0": (64,), "MXFP4": (), "IQ1_M": ()}
NAMES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
         "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "IQ1_M", "BF16", "TQ1_0", "TQ2_0", "MXFP4"]
MASK = 2 ** 64 - 1


def splitmix(state):
    while True:
        state = (state + 0x9e3779b97f4a7c15) & MASK
        z = ((state ^ (state >> 30)) * 0xbf58476d1ce4e5b9) & MASK
        z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & MASK
        yield z ^ (z >> 31)


def blocks_of(kind, name, count, scales):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    numbers = splitmix(int(kind))
    data = np.array([next(numbers) >> 56 for _ in range(size * count)], dtype=np.uint8).reshape(count, size)
    for at in scales:
        data[:, at + 1] = 0x28 | (data[:, at + 1] & 0x83)
    if name == "MXFP4":
        data[:, 0] = 110 + data[:, 0] % 16
    if name == "IQ1_M":
        data[:, 55] = 0x20 | (data[:, 55] & 0x8f)
    return data


for name in NAMES:
    kind = gguf.GGMLQuantizationType[name]
    scales = SCALES.get(name, (0,))
    count = 16 * 256 // gguf.GGML_QUANT_SIZES[kind][0]
    data = blocks_of(kind, name, count, scales)
    values = gguf.quants.dequantize(data, kind).astype(np.float32).reshape(-1)
    assert np.isfinite(values).all() or name == "BF16"
    result = 0xcbf29ce484222325
    for bits in values.view(np.uint32):
        result = ((result ^ int(bits)) * 0x100000001b3) & MASK
    first, second = (tuple(scales) + (-1, -1))[:2]
    print(f"    {{{int(kind)}, {count}, {{{first}, {second}}}, 0x{result:016x}}}, // {name}")
