// SPDX-License-Identifier: Apache-2.0
// The folder's functions as a table.
constexpr KernelTable makeTable(const char *name)
{
    return {
        .name = name,
        .matmul = matmul,
        .prepareRow = prepareRow,
        .rmsNormPrepare = rmsNormPrepare,
        .dequantisePackedRow = dequantisePackedRow,
        .dequantiseRow = dequantiseGgufRow,
        .rmsNorm = rmsNorm,
        .siluMul = siluMul,
        .geluMul = geluMul,
        .add = addVectors,
        .scale = scaleVector,
        .argmax = argmax,
        .rope = rope,
        .writeKeys = writeKeys,
        .writeValues = writeValues,
        .attentionUnit = runAttentionUnit,
        .mergeAttention = mergeAttentionTile,
        .readMemory = readMemory,
        .int8Peak = int8Peak,
        .f32Peak = f32Peak,
    };
}
