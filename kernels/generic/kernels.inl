// SPDX-License-Identifier: Apache-2.0
// Every algorithm, in the words of the folder's vocabulary.h; included inside that folder's target region and
// namespace. Order of inclusion: each part uses the ones above it.
#include "kernels/generic/math.inl"
#include "kernels/generic/vector_ops.inl"
#include "kernels/generic/panels.inl"
#include "kernels/generic/matmul.inl"
#include "kernels/generic/rotate.inl"
#include "kernels/generic/kv_write.inl"
#include "kernels/generic/attention.inl"
#include "kernels/generic/probes.inl"
#include "kernels/generic/table.inl"
