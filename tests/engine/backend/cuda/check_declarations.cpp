// SPDX-License-Identifier: Apache-2.0
// Compiled where a CUDA toolkit is: our own declarations of the driver's and cuBLASLt's interfaces against their headers. Every
// function (its symbol's version, its parameters one by one), every structure field by field, every constant.
#include "engine/backend/cuda/blas_api.h"
#include "engine/backend/cuda/driver_api.h"

#include <cublasLt.h>
#include <cuda.h>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace api = kvilt::backend::cuda::api;
namespace blas = kvilt::backend::cuda::blas;

namespace {

// Types that pass a value alike: both pointers, or both numbers of one size.
template <typename Ours, typename Theirs>
constexpr bool alike()
{
    if constexpr (std::is_pointer_v<Ours> || std::is_pointer_v<Theirs>)
        return std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>;
    else
        return sizeof(Ours) == sizeof(Theirs) && std::is_floating_point_v<Ours> == std::is_floating_point_v<Theirs>;
}

template <typename Ours, typename Theirs>
struct SameShape : std::false_type {};
template <typename R, typename... A, typename S, typename... B>
    requires(sizeof...(A) == sizeof...(B))
struct SameShape<R (*)(A...), S (*)(B...)> : std::bool_constant<alike<R, S>() && (alike<A, B>() && ...)> {};

// What a pointer parameter points to, where that is a number: its size is what is written through it.
template <typename Ours, typename Theirs>
constexpr bool writesAlike()
{
    using O = std::remove_pointer_t<Ours>;
    using T = std::remove_pointer_t<Theirs>;
    if constexpr (std::is_pointer_v<Ours> && std::is_arithmetic_v<O> && (std::is_arithmetic_v<T> || std::is_enum_v<T>))
        return sizeof(O) == sizeof(T);
    else
        return true;
}
template <typename Ours, typename Theirs>
struct SameWrites : std::false_type {};
template <typename R, typename... A, typename S, typename... B>
    requires(sizeof...(A) == sizeof...(B))
struct SameWrites<R (*)(A...), S (*)(B...)> : std::bool_constant<(writesAlike<A, B>() && ...)> {};

} // namespace

// The header renames what has versions ("cuMemAlloc" is cuMemAlloc_v2 there): so the symbol that we look up is checked with it.
#define KVILT_TEXT(x) #x
#define KVILT_EXPANDED(x) KVILT_TEXT(x)

#define HEADER_init cuInit
#define HEADER_driverVersion cuDriverGetVersion
#define HEADER_errorName cuGetErrorName
#define HEADER_errorText cuGetErrorString
#define HEADER_deviceCount cuDeviceGetCount
#define HEADER_deviceGet cuDeviceGet
#define HEADER_deviceName cuDeviceGetName
#define HEADER_deviceAttribute cuDeviceGetAttribute
#define HEADER_deviceTotalMemory cuDeviceTotalMem
#define HEADER_contextRetain cuDevicePrimaryCtxRetain
#define HEADER_contextRelease cuDevicePrimaryCtxRelease
#define HEADER_contextSetCurrent cuCtxSetCurrent
#define HEADER_memoryInfo cuMemGetInfo
#define HEADER_memoryAllocate cuMemAlloc
#define HEADER_memoryFree cuMemFree
#define HEADER_hostAllocate cuMemHostAlloc
#define HEADER_hostFree cuMemFreeHost
#define HEADER_granularity cuMemGetAllocationGranularity
#define HEADER_addressReserve cuMemAddressReserve
#define HEADER_addressFree cuMemAddressFree
#define HEADER_memoryCreate cuMemCreate
#define HEADER_memoryRelease cuMemRelease
#define HEADER_memoryMap cuMemMap
#define HEADER_memoryUnmap cuMemUnmap
#define HEADER_memorySetAccess cuMemSetAccess
#define HEADER_copyToDevice cuMemcpyHtoDAsync
#define HEADER_copyToHost cuMemcpyDtoHAsync
#define HEADER_copyOnDevice cuMemcpyDtoDAsync
#define HEADER_streamCreate cuStreamCreate
#define HEADER_streamDestroy cuStreamDestroy
#define HEADER_streamSynchronize cuStreamSynchronize
#define HEADER_streamWaitEvent cuStreamWaitEvent
#define HEADER_eventCreate cuEventCreate
#define HEADER_eventDestroy cuEventDestroy
#define HEADER_eventRecord cuEventRecord
#define HEADER_eventQuery cuEventQuery
#define HEADER_eventSynchronize cuEventSynchronize
#define HEADER_moduleLoad cuModuleLoadDataEx
#define HEADER_moduleUnload cuModuleUnload
#define HEADER_moduleFunction cuModuleGetFunction
#define HEADER_functionSetAttribute cuFuncSetAttribute
#define HEADER_launchKernel cuLaunchKernelEx
#define HEADER_captureBegin cuStreamBeginCapture
#define HEADER_captureEnd cuStreamEndCapture
#define HEADER_graphInstantiate cuGraphInstantiate
#define HEADER_graphLaunch cuGraphLaunch
#define HEADER_graphExecDestroy cuGraphExecDestroy
#define HEADER_graphDestroy cuGraphDestroy
#define HEADER_tensorEncode cuTensorMapEncodeTiled
#define HEADER_eventElapsed cuEventElapsedTime

// The header of 13 means a second version of one function, with the same parameters; drivers keep the first, and those of 12
// have no other.
constexpr bool sameSymbol(std::string_view ours, std::string_view header)
{
    return ours == header || (ours == "cuEventElapsedTime" && header == "cuEventElapsedTime_v2");
}

#define KVILT_CHECK_DRIVER(name, symbol, parameters)                                                                        \
    static_assert(sameSymbol(symbol, KVILT_EXPANDED(HEADER_##name)), "another version of the symbol");                      \
    static_assert(SameShape<decltype(api::Driver::name), decltype(&HEADER_##name)>::value, "other parameters");             \
    static_assert(SameWrites<decltype(api::Driver::name), decltype(&HEADER_##name)>::value, "other sizes behind pointers");
KVILT_CUDA_FUNCTIONS(KVILT_CHECK_DRIVER)

static_assert(sizeof(CUdeviceptr) == sizeof(api::Address) && sizeof(CUdevice) == sizeof(api::DeviceId));
static_assert(sizeof(CUresult) == sizeof(api::Status));
static_assert(sizeof(CUmemGenericAllocationHandle) == sizeof(api::AllocationHandle));
static_assert(CUDA_SUCCESS == api::kOk && CUDA_ERROR_STUB_LIBRARY == api::kStubLibrary);
static_assert(CUDA_ERROR_OUT_OF_MEMORY == api::kOutOfMemory && CUDA_ERROR_NO_DEVICE == api::kNoDevice);
static_assert(CUDA_ERROR_NO_BINARY_FOR_GPU == api::kNoBinaryForGpu && CUDA_ERROR_UNSUPPORTED_PTX_VERSION == api::kUnsupportedPtx);
static_assert(CUDA_ERROR_NOT_FOUND == api::kNotFound && CUDA_ERROR_NOT_READY == api::kNotReady);
static_assert(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH == api::kSystemDriverMismatch);
static_assert(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE == api::kCompatNotSupported);
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
static_assert(CU_MEM_ALLOCATION_TYPE_PINNED == api::kAllocationPinned && CU_MEM_LOCATION_TYPE_DEVICE == api::kLocationDevice);
static_assert(CU_MEM_ACCESS_FLAGS_PROT_READWRITE == api::kReadWrite && CU_MEM_ALLOC_GRANULARITY_MINIMUM == api::kGranularityMinimum);

#define KVILT_FIELD(Theirs, theirs, Ours, ours)                                                                              \
    static_assert(offsetof(Theirs, theirs) == offsetof(api::Ours, ours));                                                    \
    static_assert(sizeof(Theirs::theirs) == sizeof(api::Ours::ours));

static_assert(sizeof(CUlaunchAttribute) == sizeof(api::LaunchAttribute) && alignof(CUlaunchAttribute) == alignof(api::LaunchAttribute));
KVILT_FIELD(CUlaunchAttribute, id, LaunchAttribute, id)
KVILT_FIELD(CUlaunchAttribute, value, LaunchAttribute, value)
static_assert(offsetof(CUlaunchAttribute, value.clusterDim.x) == offsetof(api::LaunchAttribute, value.cluster.x));
static_assert(offsetof(CUlaunchAttribute, value.clusterDim.y) == offsetof(api::LaunchAttribute, value.cluster.y));
static_assert(offsetof(CUlaunchAttribute, value.clusterDim.z) == offsetof(api::LaunchAttribute, value.cluster.z));
static_assert(offsetof(CUlaunchAttribute, value.programmaticStreamSerializationAllowed) ==
              offsetof(api::LaunchAttribute, value.programmaticSerialization));

static_assert(sizeof(CUlaunchConfig) == sizeof(api::LaunchConfig) && alignof(CUlaunchConfig) == alignof(api::LaunchConfig));
KVILT_FIELD(CUlaunchConfig, gridDimX, LaunchConfig, gridX)
KVILT_FIELD(CUlaunchConfig, gridDimY, LaunchConfig, gridY)
KVILT_FIELD(CUlaunchConfig, gridDimZ, LaunchConfig, gridZ)
KVILT_FIELD(CUlaunchConfig, blockDimX, LaunchConfig, blockX)
KVILT_FIELD(CUlaunchConfig, blockDimY, LaunchConfig, blockY)
KVILT_FIELD(CUlaunchConfig, blockDimZ, LaunchConfig, blockZ)
KVILT_FIELD(CUlaunchConfig, sharedMemBytes, LaunchConfig, sharedBytes)
KVILT_FIELD(CUlaunchConfig, hStream, LaunchConfig, stream)
KVILT_FIELD(CUlaunchConfig, attrs, LaunchConfig, attributes)
KVILT_FIELD(CUlaunchConfig, numAttrs, LaunchConfig, attributeCount)

static_assert(sizeof(CUmemLocation) == sizeof(api::MemoryLocation));
KVILT_FIELD(CUmemLocation, type, MemoryLocation, type)
KVILT_FIELD(CUmemLocation, id, MemoryLocation, id)
static_assert(sizeof(CUmemAllocationProp) == sizeof(api::AllocationProperties));
KVILT_FIELD(CUmemAllocationProp, type, AllocationProperties, type)
KVILT_FIELD(CUmemAllocationProp, requestedHandleTypes, AllocationProperties, handleTypes)
KVILT_FIELD(CUmemAllocationProp, location, AllocationProperties, location)
KVILT_FIELD(CUmemAllocationProp, win32HandleMetaData, AllocationProperties, win32)
KVILT_FIELD(CUmemAllocationProp, allocFlags, AllocationProperties, flags)
KVILT_FIELD(CUmemAllocationProp, allocFlags.compressionType, AllocationProperties, flags.compression)
KVILT_FIELD(CUmemAllocationProp, allocFlags.gpuDirectRDMACapable, AllocationProperties, flags.rdma)
KVILT_FIELD(CUmemAllocationProp, allocFlags.usage, AllocationProperties, flags.usage)
static_assert(sizeof(CUmemAccessDesc) == sizeof(api::AccessDescription));
static_assert(CU_TENSOR_MAP_DATA_TYPE_FLOAT16 == api::kTensorFloat16 && CU_TENSOR_MAP_SWIZZLE_128B == api::kTensorSwizzle128);
static_assert(CU_TENSOR_MAP_L2_PROMOTION_L2_128B == api::kTensorPromotion128 && CU_TENSOR_MAP_INTERLEAVE_NONE == 0);
static_assert(CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE == 0 && sizeof(CUtensorMap) == 128);
KVILT_FIELD(CUmemAccessDesc, location, AccessDescription, location)
KVILT_FIELD(CUmemAccessDesc, flags, AccessDescription, flags)
static_assert(CU_MEM_HANDLE_TYPE_NONE == 0 && CU_MEM_ALLOCATION_COMP_NONE == 0); // what zeroed properties ask for

// --- cuBLASLt ---

static_assert(CUDA_R_16BF == blas::kBf16 && CUDA_R_16F == blas::kF16 && CUDA_R_32F == blas::kF32);
static_assert(CUBLAS_COMPUTE_32F == blas::kCompute32 && CUBLAS_OP_N == blas::kNormal && CUBLAS_OP_T == blas::kTransposed);
static_assert(sizeof(cublasOperation_t) == sizeof(blas::kNormal)); // what the transpose attributes are set from
static_assert(CUBLASLT_MATMUL_DESC_TRANSA == blas::kTransposeA && CUBLASLT_MATMUL_DESC_TRANSB == blas::kTransposeB);
static_assert(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES == blas::kMaxWorkspace);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES == blas::kAlignmentA);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES == blas::kAlignmentB);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES == blas::kAlignmentC);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES == blas::kAlignmentD);
static_assert(CUBLAS_STATUS_SUCCESS == 0);

static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == sizeof(blas::Found));
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, algo) == offsetof(blas::Found, algorithm));
static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(blas::Found::algorithm));
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) == offsetof(blas::Found, workspace));
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, state) == offsetof(blas::Found, state));
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, wavesCount) == offsetof(blas::Found, waves));
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, reserved) == offsetof(blas::Found, reserved));

#define BLAS_create cublasLtCreate
#define BLAS_destroy cublasLtDestroy
#define BLAS_version cublasLtGetVersion
#define BLAS_describe cublasLtMatmulDescCreate
#define BLAS_undescribe cublasLtMatmulDescDestroy
#define BLAS_setDescription cublasLtMatmulDescSetAttribute
#define BLAS_layout cublasLtMatrixLayoutCreate
#define BLAS_unlayout cublasLtMatrixLayoutDestroy
#define BLAS_prefer cublasLtMatmulPreferenceCreate
#define BLAS_unprefer cublasLtMatmulPreferenceDestroy
#define BLAS_setPreference cublasLtMatmulPreferenceSetAttribute
#define BLAS_search cublasLtMatmulAlgoGetHeuristic
#define BLAS_multiply cublasLtMatmul

namespace kvilt::backend::cuda::blas {
#define KVILT_CHECK_BLAS(result, name, symbol, parameters)                                                                   \
    using name##_ = result(*) parameters;                                                                                    \
    static_assert(std::string_view(symbol) == KVILT_EXPANDED(BLAS_##name));                                                  \
    static_assert(SameShape<name##_, decltype(&BLAS_##name)>::value, "other parameters");                                    \
    static_assert(SameWrites<name##_, decltype(&BLAS_##name)>::value, "other sizes behind pointers");
KVILT_BLAS_FUNCTIONS(KVILT_CHECK_BLAS)
} // namespace kvilt::backend::cuda::blas
