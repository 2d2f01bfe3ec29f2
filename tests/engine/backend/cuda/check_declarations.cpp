// SPDX-License-Identifier: Apache-2.0
// Compiled where a CUDA toolkit is: our own declarations of the driver's interface against its header.
#include "engine/backend/cuda/driver_api.h"

#include <cuda.h>

#include <cstddef>
#include <type_traits>

namespace api = kvilt::backend::cuda::api;

static_assert(sizeof(CUdeviceptr) == sizeof(api::Address) && sizeof(CUdevice) == sizeof(api::DeviceId));
static_assert(sizeof(CUresult) == sizeof(api::Status));
static_assert(sizeof(CUmemGenericAllocationHandle) == sizeof(api::AllocationHandle));
static_assert(CUDA_ERROR_OUT_OF_MEMORY == api::kOutOfMemory && CUDA_ERROR_NO_DEVICE == api::kNoDevice);
static_assert(CUDA_ERROR_NO_BINARY_FOR_GPU == api::kNoBinaryForGpu && CUDA_ERROR_UNSUPPORTED_PTX_VERSION == api::kUnsupportedPtx);
static_assert(CUDA_ERROR_NOT_FOUND == api::kNotFound && CUDA_ERROR_NOT_READY == api::kNotReady);
static_assert(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH == api::kSystemDriverMismatch);
static_assert(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT == api::kMultiprocessorCount);
static_assert(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE == api::kL2CacheSize);
static_assert(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR == api::kComputeMajor);
static_assert(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR == api::kComputeMinor);
static_assert(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN == api::kSharedPerBlockOptIn);
static_assert(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED == api::kVirtualMemory);
static_assert(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES == api::kFunctionLocalBytes);
static_assert(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES == api::kFunctionMaxDynamicShared);
static_assert(CU_STREAM_NON_BLOCKING == api::kStreamNonBlocking && CU_EVENT_BLOCKING_SYNC == api::kEventBlockingSync);
static_assert(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL == api::kCaptureThreadLocal);
static_assert(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION == api::kAttributeClusterDimension);
static_assert(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION == api::kAttributeProgrammaticSerialization);

static_assert(sizeof(CUlaunchAttribute) == sizeof(api::LaunchAttribute));
static_assert(offsetof(CUlaunchAttribute, value) == offsetof(api::LaunchAttribute, value));
static_assert(sizeof(CUlaunchConfig) == sizeof(api::LaunchConfig));
static_assert(offsetof(CUlaunchConfig, sharedMemBytes) == offsetof(api::LaunchConfig, sharedBytes));
static_assert(offsetof(CUlaunchConfig, hStream) == offsetof(api::LaunchConfig, stream));
static_assert(offsetof(CUlaunchConfig, attrs) == offsetof(api::LaunchConfig, attributes));
static_assert(offsetof(CUlaunchConfig, numAttrs) == offsetof(api::LaunchConfig, attributeCount));
static_assert(sizeof(CUmemAllocationProp) == sizeof(api::AllocationProperties));
static_assert(offsetof(CUmemAllocationProp, location) == offsetof(api::AllocationProperties, location));
static_assert(sizeof(CUmemAccessDesc) == sizeof(api::AccessDescription));
static_assert(CU_MEM_ALLOCATION_TYPE_PINNED == 1 && CU_MEM_LOCATION_TYPE_DEVICE == 1 && CU_MEM_ACCESS_FLAGS_PROT_READWRITE == 3);
static_assert(CU_MEM_ALLOC_GRANULARITY_MINIMUM == 0);
static_assert(CU_TENSOR_MAP_DATA_TYPE_FLOAT16 == api::kTensorFloat16 && CU_TENSOR_MAP_SWIZZLE_128B == api::kTensorSwizzle128);
static_assert(CU_TENSOR_MAP_L2_PROMOTION_L2_128B == api::kTensorPromotion128 && CU_TENSOR_MAP_INTERLEAVE_NONE == 0);
static_assert(CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE == 0 && sizeof(CUtensorMap) == 128);
