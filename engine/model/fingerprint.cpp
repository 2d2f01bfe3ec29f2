// SPDX-License-Identifier: Apache-2.0
#include "engine/model/fingerprint.h"

#include "engine/support/new_file.h"
#include "engine/support/thread_pool.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <openssl/evp.h>
#include <sstream>
#include <sys/stat.h>

namespace kvilt::model {
namespace {

constexpr std::uint64_t kPieceBytes = 4u << 20;
constexpr std::size_t kMaxEntries = 256;
// Part of the root: a change of the tree's shape gets a new name.
constexpr std::string_view kTreeName = "kvilt model fingerprint 1";

bool sha256(std::span<const std::byte> bytes, Fingerprint &out)
{
    return EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, EVP_sha256(), nullptr) == 1;
}

std::vector<std::span<const std::byte>> leavesOf(const gguf::GgufFile &file)
{
    std::vector<std::span<const std::byte>> leaves;
    leaves.push_back(file.bytes().first(std::min(file.dataOffset(), file.size())));
    for (const gguf::TensorInfo &tensor : file.tensors()) {
        const auto bytes = file.tensorBytes(tensor);
        for (std::uint64_t at = 0; at < bytes.size(); at += kPieceBytes)
            leaves.push_back(bytes.subspan(at, std::min<std::uint64_t>(kPieceBytes, bytes.size() - at)));
    }
    return leaves;
}

void append(std::vector<std::byte> &to, std::span<const std::byte> bytes)
{
    to.insert(to.end(), bytes.begin(), bytes.end());
}

// "<device> <inode> <size> <mtime ns>"; nothing when the file is not there.
std::optional<std::string> identityOf(const std::string &path)
{
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0)
        return std::nullopt;
    std::ostringstream text;
    text << status.st_dev << ' ' << status.st_ino << ' ' << status.st_size << ' '
         << status.st_mtim.tv_sec * 1'000'000'000ll + status.st_mtim.tv_nsec;
    return text.str();
}

std::optional<Fingerprint> fromHex(std::string_view hex)
{
    Fingerprint out{};
    if (hex.size() != 2 * out.size())
        return std::nullopt;
    const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
    for (std::size_t i = 0; i < out.size(); ++i) {
        const int high = digit(hex[2 * i]);
        const int low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return std::nullopt;
        out[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return out;
}

// Lines "<identity> <hex>", oldest first; at most the newest kMaxEntries. A line that is too long ends the reading.
std::vector<std::string> readLines(const std::string &path)
{
    std::vector<std::string> lines;
    std::ifstream in(path);
    char line[256];
    while (in.getline(line, sizeof line)) {
        lines.emplace_back(line);
        if (lines.size() > kMaxEntries)
            lines.erase(lines.begin());
    }
    return lines;
}

} // namespace

std::string toHex(const Fingerprint &fingerprint)
{
    constexpr char kDigits[] = "0123456789abcdef";
    std::string hex;
    for (const std::uint8_t byte : fingerprint) {
        hex += kDigits[byte >> 4];
        hex += kDigits[byte & 15];
    }
    return hex;
}

Result<Fingerprint> computeFingerprint(const gguf::GgufFile &file, int threads, const std::atomic<bool> *cancel)
{
    const auto leaves = leavesOf(file);
    std::vector<Fingerprint> digests(leaves.size());
    std::atomic<bool> failed = false;
    const auto cancelled = [&] { return cancel && cancel->load(std::memory_order_relaxed); };
    ThreadPool pool(threads);
    pool.parallelFor(static_cast<std::uint32_t>(leaves.size()), [&](std::uint32_t i, int) {
        if (cancelled())
            return;
        if (!sha256(leaves[i], digests[i]))
            failed = true;
        // A backend keeps its own copy of the weights: what was read here must not stay resident beside it.
        file.dropPages(static_cast<std::uint64_t>(leaves[i].data() - file.bytes().data()), leaves[i].size());
    });
    if (cancelled())
        return fail(ErrorCode::cancelled, "Reading " + file.path() + " was stopped.");
    std::vector<std::byte> root;
    append(root, std::as_bytes(std::span(kTreeName)));
    for (std::size_t i = 0; i < leaves.size(); ++i) {
        const std::uint64_t length = leaves[i].size();
        append(root, std::as_bytes(std::span(&length, 1)));
        append(root, std::as_bytes(std::span(digests[i])));
    }
    Fingerprint result{};
    if (failed || !sha256(root, result))
        return fail(ErrorCode::io, "The SHA-256 of " + file.path() + " could not be computed.");
    return result;
}

std::optional<Fingerprint> FingerprintCache::find(const std::string &modelPath) const
{
    const auto identity = identityOf(modelPath);
    if (!identity)
        return std::nullopt;
    for (const std::string &line : readLines(m_path))
        if (line.starts_with(*identity + ' '))
            return fromHex(std::string_view(line).substr(identity->size() + 1));
    return std::nullopt;
}

Result<void> FingerprintCache::remember(const std::string &modelPath, const Fingerprint &fingerprint)
{
    const auto identity = identityOf(modelPath);
    if (!identity)
        return fail(ErrorCode::notFound, "The model file " + modelPath + " is gone.");
    std::vector<std::string> lines = readLines(m_path);
    std::erase_if(lines, [&](const std::string &line) { return line.starts_with(*identity + ' '); });
    lines.push_back(*identity + ' ' + toHex(fingerprint));
    if (lines.size() > kMaxEntries)
        lines.erase(lines.begin());
    // A reader never sees half of it, and of two writers one wins.
    KVILT_TRY(NewFile out, NewFile::create(m_path, {.mode = 0600}));
    for (const std::string &line : lines)
        KVILT_TRY_VOID(out.write(line + '\n'));
    return out.commit();
}

} // namespace kvilt::model
