// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/gguf/gguf_file.h"
#include "engine/support/error.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

namespace kvilt::model {

// Which model exactly: a SHA-256 tree over the header (all metadata and tensor entries) and every tensor's bytes.
// Leaves are the header and each tensor's pieces of 4 MiB, in file order; the root hashes their digests and lengths.
using Fingerprint = std::array<std::uint8_t, 32>;
std::string toHex(const Fingerprint &fingerprint);

// Reads the whole file with `threads` threads of its own, the caller's included (1: no thread is started). `cancel`
// may be null; when set, it answers `cancelled` within some milliseconds.
Result<Fingerprint> computeFingerprint(const gguf::GgufFile &file, int threads, const std::atomic<bool> *cancel);

// Fingerprints by (device, inode, size, modification time) in a small text file of the profile. Not thread-safe. A
// damaged or missing file only means computing again; it keeps the newest 256 entries.
class FingerprintCache {
public:
    explicit FingerprintCache(std::string path) : m_path(std::move(path)) {}

    std::optional<Fingerprint> find(const std::string &modelPath) const;
    Result<void> remember(const std::string &modelPath, const Fingerprint &fingerprint);

private:
    std::string m_path;
};

} // namespace kvilt::model
