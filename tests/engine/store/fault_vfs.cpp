// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/store/fault_vfs.h"

#include <sqlite3.h>

#include <atomic>
#include <cstring>

// The shim stands before the default VFS: it keeps the real file behind its own methods and only counts growth.
namespace kvilt::test {

namespace {

constexpr char kName[] = "kvilt-full-disk";

std::atomic<std::int64_t> g_room{INT64_MAX};
std::filesystem::path g_reserve;
sqlite3_vfs *g_real = nullptr;
sqlite3_vfs g_vfs;

struct ShimFile {
    sqlite3_file base;
    sqlite3_file *real() { return reinterpret_cast<sqlite3_file *>(this + 1); }
};
ShimFile *shim(sqlite3_file *file) { return reinterpret_cast<ShimFile *>(file); }
const sqlite3_io_methods *realMethods(sqlite3_file *file) { return shim(file)->real()->pMethods; }

std::int64_t heldBack()
{
    std::error_code missing;
    const auto bytes = g_reserve.empty() ? 0 : std::filesystem::file_size(g_reserve, missing);
    return missing ? 0 : std::int64_t(bytes);
}

int shimWrite(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 at)
{
    sqlite3_int64 size = 0;
    realMethods(file)->xFileSize(shim(file)->real(), &size);
    const std::int64_t growth = at + bytes > size ? at + bytes - size : 0;
    if (growth > 0 && g_room - heldBack() < growth)
        return SQLITE_FULL;
    g_room -= growth;
    return realMethods(file)->xWrite(shim(file)->real(), data, bytes, at);
}

int shimClose(sqlite3_file *file) { return realMethods(file)->xClose(shim(file)->real()); }
int shimRead(sqlite3_file *file, void *out, int bytes, sqlite3_int64 at)
{
    return realMethods(file)->xRead(shim(file)->real(), out, bytes, at);
}
int shimTruncate(sqlite3_file *file, sqlite3_int64 size)
{
    return realMethods(file)->xTruncate(shim(file)->real(), size);
}
int shimSync(sqlite3_file *file, int flags) { return realMethods(file)->xSync(shim(file)->real(), flags); }
int shimFileSize(sqlite3_file *file, sqlite3_int64 *size)
{
    return realMethods(file)->xFileSize(shim(file)->real(), size);
}
int shimLock(sqlite3_file *file, int lock) { return realMethods(file)->xLock(shim(file)->real(), lock); }
int shimUnlock(sqlite3_file *file, int lock) { return realMethods(file)->xUnlock(shim(file)->real(), lock); }
int shimCheck(sqlite3_file *file, int *out) { return realMethods(file)->xCheckReservedLock(shim(file)->real(), out); }
int shimControl(sqlite3_file *file, int op, void *arg)
{
    return realMethods(file)->xFileControl(shim(file)->real(), op, arg);
}
int shimSector(sqlite3_file *file) { return realMethods(file)->xSectorSize(shim(file)->real()); }
int shimDevice(sqlite3_file *file) { return realMethods(file)->xDeviceCharacteristics(shim(file)->real()); }
int shimShmMap(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return realMethods(file)->xShmMap(shim(file)->real(), page, size, extend, out);
}
int shimShmLock(sqlite3_file *file, int offset, int n, int flags)
{
    return realMethods(file)->xShmLock(shim(file)->real(), offset, n, flags);
}
void shimShmBarrier(sqlite3_file *file) { realMethods(file)->xShmBarrier(shim(file)->real()); }
int shimShmUnmap(sqlite3_file *file, int remove) { return realMethods(file)->xShmUnmap(shim(file)->real(), remove); }

const sqlite3_io_methods kMethods = {
    2,          shimClose, shimRead,   shimWrite,   shimTruncate, shimSync,    shimFileSize,   shimLock,    shimUnlock,
    shimCheck,  shimControl, shimSector, shimDevice, shimShmMap,  shimShmLock, shimShmBarrier, shimShmUnmap, nullptr,
    nullptr};

int shimOpen(sqlite3_vfs *, sqlite3_filename name, sqlite3_file *file, int flags, int *outFlags)
{
    file->pMethods = nullptr;
    const int code = g_real->xOpen(g_real, name, shim(file)->real(), flags, outFlags);
    if (code == SQLITE_OK || shim(file)->real()->pMethods)
        file->pMethods = &kMethods;
    return code;
}

} // namespace

FullDisk::FullDisk(std::filesystem::path reserve)
{
    g_reserve = std::move(reserve);
    g_room = INT64_MAX;
    g_real = sqlite3_vfs_find(nullptr);
    g_vfs = *g_real; // its other methods take no file and pass through
    g_vfs.zName = kName;
    g_vfs.szOsFile = int(sizeof(ShimFile)) + g_real->szOsFile;
    g_vfs.xOpen = shimOpen;
    g_vfs.pNext = nullptr;
    sqlite3_vfs_register(&g_vfs, 0);
}

FullDisk::~FullDisk() { sqlite3_vfs_unregister(&g_vfs); }
const char *FullDisk::name() const { return kName; }
void FullDisk::setRoom(std::int64_t bytes) { g_room = bytes; }

} // namespace kvilt::test
