// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// The part of the CUDA driver's interface that is used here, declared by ourselves: the program is built without a toolkit, and
// libcuda.so.1 is opened when it is there. Names and layouts are those of the driver's ABI since CUDA 12.0; where a toolkit is,
// tests/engine/backend/cuda compares them with its header.
namespace kvilt::backend::cuda::api {

using Status = int; // CUresult
using DeviceId = int;
using Address = unsigned long long;
struct ContextTag;
struct ModuleTag;
struct FunctionTag;
struct StreamTag;
struct EventTag;
struct GraphTag;
struct GraphExecTag;
using Context = ContextTag *;
using Module = ModuleTag *;
using Function = FunctionTag *;
using Stream = StreamTag *;
using EventHandle = EventTag *;
using GraphHandle = GraphTag *;
using GraphExec = GraphExecTag *;
using AllocationHandle = unsigned long long;

inline constexpr Status kOk = 0;
inline constexpr Status kOutOfMemory = 2;
inline constexpr Status kStubLibrary = 34;
inline constexpr Status kNoDevice = 100;
inline constexpr Status kNoBinaryForGpu = 209;
inline constexpr Status kUnsupportedPtx = 222;
inline constexpr Status kNotFound = 500;
inline constexpr Status kNotReady = 600;
inline constexpr Status kSystemDriverMismatch = 803;
inline constexpr Status kCompatNotSupported = 804;

inline constexpr int kMultiprocessorCount = 16;
inline constexpr int kL2CacheSize = 38;
inline constexpr int kComputeMajor = 75;
inline constexpr int kComputeMinor = 76;
inline constexpr int kSharedPerBlockOptIn = 97;
inline constexpr int kVirtualMemory = 102;

inline constexpr int kFunctionLocalBytes = 3;
inline constexpr int kFunctionMaxDynamicShared = 8;

inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventBlockingSync = 1;
inline constexpr unsigned kCaptureThreadLocal = 1;

inline constexpr int kTensorFloat16 = 6;
inline constexpr int kTensorSwizzle128 = 3;
inline constexpr int kTensorPromotion128 = 2; // what is fetched goes to the second-level cache in 128-byte pieces

inline constexpr int kAttributeClusterDimension = 4;
inline constexpr int kAttributeProgrammaticSerialization = 6;

inline constexpr int kAllocationPinned = 1;   // of device memory, too: it does not move
inline constexpr int kLocationDevice = 1;
inline constexpr int kReadWrite = 3;
inline constexpr int kGranularityMinimum = 0;

struct LaunchAttribute {
    int id;
    char pad[4];
    union alignas(8) {
        char size[64];
        struct {
            unsigned x, y, z;
        } cluster;
        int programmaticSerialization;
    } value;
};

struct LaunchConfig {
    unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
    Stream stream;
    LaunchAttribute *attributes;
    unsigned attributeCount;
};

struct MemoryLocation {
    int type; // kLocationDevice
    int id;
};

struct AllocationProperties {
    int type; // kAllocationPinned
    int handleTypes; // 0: it is not exported
    MemoryLocation location;
    void *win32;
    struct {
        unsigned char compression, rdma;
        unsigned short usage;
        unsigned char reserved[4];
    } flags;
};

struct AccessDescription {
    MemoryLocation location;
    int flags; // kReadWrite
};

// One line a function: the name here, the symbol, the parameters.
#define KVILT_CUDA_FUNCTIONS(X)                                                                                             \
    X(init, "cuInit", (unsigned flags))                                                                                     \
    X(driverVersion, "cuDriverGetVersion", (int *version))                                                                  \
    X(errorName, "cuGetErrorName", (Status status, const char **name))                                                      \
    X(errorText, "cuGetErrorString", (Status status, const char **text))                                                    \
    X(deviceCount, "cuDeviceGetCount", (int *count))                                                                        \
    X(deviceGet, "cuDeviceGet", (DeviceId * device, int ordinal))                                                           \
    X(deviceName, "cuDeviceGetName", (char *name, int length, DeviceId device))                                             \
    X(deviceAttribute, "cuDeviceGetAttribute", (int *value, int attribute, DeviceId device))                                \
    X(deviceTotalMemory, "cuDeviceTotalMem_v2", (std::size_t * bytes, DeviceId device))                                     \
    X(contextRetain, "cuDevicePrimaryCtxRetain", (Context * context, DeviceId device))                                      \
    X(contextRelease, "cuDevicePrimaryCtxRelease_v2", (DeviceId device))                                                    \
    X(contextSetCurrent, "cuCtxSetCurrent", (Context context))                                                              \
    X(memoryInfo, "cuMemGetInfo_v2", (std::size_t * free, std::size_t * total))                                             \
    X(memoryAllocate, "cuMemAlloc_v2", (Address * address, std::size_t bytes))                                              \
    X(memoryFree, "cuMemFree_v2", (Address address))                                                                        \
    X(hostAllocate, "cuMemHostAlloc", (void **data, std::size_t bytes, unsigned flags))                                     \
    X(hostFree, "cuMemFreeHost", (void *data))                                                                              \
    X(granularity, "cuMemGetAllocationGranularity", (std::size_t * bytes, const AllocationProperties *properties, int option)) \
    X(addressReserve, "cuMemAddressReserve", (Address * address, std::size_t bytes, std::size_t alignment, Address at, std::uint64_t flags)) \
    X(addressFree, "cuMemAddressFree", (Address address, std::size_t bytes))                                                \
    X(memoryCreate, "cuMemCreate", (AllocationHandle * handle, std::size_t bytes, const AllocationProperties *properties, std::uint64_t flags)) \
    X(memoryRelease, "cuMemRelease", (AllocationHandle handle))                                                             \
    X(memoryMap, "cuMemMap", (Address address, std::size_t bytes, std::size_t offset, AllocationHandle handle, std::uint64_t flags)) \
    X(memoryUnmap, "cuMemUnmap", (Address address, std::size_t bytes))                                                      \
    X(memorySetAccess, "cuMemSetAccess", (Address address, std::size_t bytes, const AccessDescription *access, std::size_t count)) \
    X(copyToDevice, "cuMemcpyHtoDAsync_v2", (Address to, const void *from, std::size_t bytes, Stream stream))               \
    X(copyToHost, "cuMemcpyDtoHAsync_v2", (void *to, Address from, std::size_t bytes, Stream stream))                       \
    X(copyOnDevice, "cuMemcpyDtoDAsync_v2", (Address to, Address from, std::size_t bytes, Stream stream))                   \
    X(streamCreate, "cuStreamCreate", (Stream * stream, unsigned flags))                                                    \
    X(streamDestroy, "cuStreamDestroy_v2", (Stream stream))                                                                 \
    X(streamSynchronize, "cuStreamSynchronize", (Stream stream))                                                            \
    X(streamWaitEvent, "cuStreamWaitEvent", (Stream stream, EventHandle event, unsigned flags))                             \
    X(eventCreate, "cuEventCreate", (EventHandle * event, unsigned flags))                                                  \
    X(eventDestroy, "cuEventDestroy_v2", (EventHandle event))                                                               \
    X(eventRecord, "cuEventRecord", (EventHandle event, Stream stream))                                                     \
    X(eventQuery, "cuEventQuery", (EventHandle event))                                                                      \
    X(eventSynchronize, "cuEventSynchronize", (EventHandle event))                                                          \
    X(eventElapsed, "cuEventElapsedTime", (float *milliseconds, EventHandle from, EventHandle to))                          \
    X(moduleLoad, "cuModuleLoadDataEx", (Module * module, const void *image, unsigned options, int *names, void **values))  \
    X(moduleUnload, "cuModuleUnload", (Module module))                                                                      \
    X(moduleFunction, "cuModuleGetFunction", (Function * function, Module module, const char *name))                        \
    X(functionSetAttribute, "cuFuncSetAttribute", (Function function, int attribute, int value))                            \
    X(launchKernel, "cuLaunchKernelEx", (const LaunchConfig *config, Function function, void **parameters, void **extra))   \
    X(captureBegin, "cuStreamBeginCapture_v2", (Stream stream, unsigned mode))                                              \
    X(captureEnd, "cuStreamEndCapture", (Stream stream, GraphHandle *graph))                                                \
    X(graphInstantiate, "cuGraphInstantiateWithFlags", (GraphExec * exec, GraphHandle graph, unsigned long long flags))     \
    X(graphLaunch, "cuGraphLaunch", (GraphExec exec, Stream stream))                                                        \
    X(graphExecDestroy, "cuGraphExecDestroy", (GraphExec exec))                                                             \
    X(graphDestroy, "cuGraphDestroy", (GraphHandle graph))                                                                   \
    X(tensorEncode, "cuTensorMapEncodeTiled",                                                                               \
      (void *map, int type, unsigned rank, void *base, const std::uint64_t *sizes, const std::uint64_t *strides,            \
       const std::uint32_t *box, const std::uint32_t *steps, int interleave, int swizzle, int promotion, int fill))

// The driver's functions. Tests fill it with their own.
struct Driver {
#define KVILT_CUDA_POINTER(name, symbol, parameters) Status(*name) parameters = nullptr;
    KVILT_CUDA_FUNCTIONS(KVILT_CUDA_POINTER)
#undef KVILT_CUDA_POINTER
};

} // namespace kvilt::backend::cuda::api
