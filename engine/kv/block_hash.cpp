// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/block_hash.h"

#include "engine/support/check.h"

#include <openssl/evp.h>

#include <bit>
#include <memory>

namespace kvilt::kv {
namespace {

static_assert(std::endian::native == std::endian::little, "names hash little-endian integers as they lie in memory");

// One digest, fed piece by piece. A fresh context a name costs about 0.3 µs: names are made when a block goes to disk
// or a lookup asks the disk, never for a block in memory.
class Sha256 {
public:
    Sha256() : m_context(EVP_MD_CTX_new(), &EVP_MD_CTX_free)
    {
        KVILT_CHECK(m_context && EVP_DigestInit_ex(m_context.get(), EVP_sha256(), nullptr) == 1);
    }
    void bytes(const void *data, std::size_t size)
    {
        KVILT_CHECK(EVP_DigestUpdate(m_context.get(), data, size) == 1);
    }
    void number(std::uint64_t value) { bytes(&value, sizeof value); }
    void text(std::string_view value)
    {
        number(value.size());
        bytes(value.data(), value.size());
    }
    BlockName finish()
    {
        BlockName name;
        unsigned size = 0;
        KVILT_CHECK(EVP_DigestFinal_ex(m_context.get(), name.bytes.data(), &size) == 1 && size == name.bytes.size());
        return name;
    }

private:
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> m_context;
};

} // namespace

BlockName rootName(const CacheIdentity &identity, std::string_view salt)
{
    Sha256 sha;
    sha.text("kvilt root");
    sha.number(kHashVersion);
    sha.text(identity.modelFingerprint);
    sha.text(identity.tokenizer);
    sha.text(identity.rope);
    sha.text(identity.kvTypes);
    sha.number(identity.blockSize);
    sha.text(salt);
    return sha.finish();
}

BlockName childName(const BlockName &parent, std::span<const TokenId> tokens)
{
    Sha256 sha;
    sha.bytes(parent.bytes.data(), parent.bytes.size());
    sha.number(tokens.size());
    sha.bytes(tokens.data(), tokens.size_bytes());
    return sha.finish();
}

std::string toHex(const BlockName &name)
{
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    out.reserve(name.bytes.size() * 2);
    for (const std::uint8_t byte : name.bytes) {
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

} // namespace kvilt::kv
