// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace kvilt {

// Few codes, because callers only decide three things: tell the user (badInput, notFound, unsupported), try with
// less (outOfMemory, full), or give up on this device or file (io, corrupt, device).
enum class ErrorCode {
    badInput,     // an argument, a file or a row that breaks its format
    notFound,     // a file, session or block that should exist
    unsupported,  // well-formed, but not something this build can do
    outOfMemory,  // a large allocation failed or would exceed the budget
    full,         // disk full, quota reached, read-only place
    io,           // the operating system refused
    corrupt,      // our own stored data fails its check
    device,       // a backend lost its device
    cancelled,    // the user stopped it
};

// The message is one sentence for the user: what was wrong, where, and what to do.
struct Error {
    ErrorCode code;
    std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message)
{
    return tl::unexpected<Error>(Error{code, std::move(message)});
}

} // namespace kvilt

#define KVILT_CONCAT_(a, b) a##b
#define KVILT_CONCAT(a, b) KVILT_CONCAT_(a, b)

// KVILT_TRY(auto x, f()): x = *f(), or return its error.
#define KVILT_TRY(decl, expr) KVILT_TRY_IMPL(KVILT_CONCAT(kvTry_, __LINE__), decl, expr)
#define KVILT_TRY_IMPL(tmp, decl, expr)                                                                                \
    auto tmp = (expr);                                                                                                 \
    if (!tmp)                                                                                                          \
        return tl::unexpected<::kvilt::Error>(std::move(tmp.error()));                                                 \
    decl = std::move(*tmp)

// KVILT_TRY_VOID(f()): return f()'s error, if any.
#define KVILT_TRY_VOID(expr)                                                                                           \
    do {                                                                                                               \
        if (auto kvTryVoid_ = (expr); !kvTryVoid_)                                                                     \
            return tl::unexpected<::kvilt::Error>(std::move(kvTryVoid_.error()));                                      \
    } while (false)
