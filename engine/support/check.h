// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>

// For bugs only: a broken invariant stops the program with the place and the expression, in every build type.
// Anything a file, a user or the system can cause is a Result instead.
#define KVILT_CHECK(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) [[unlikely]] {                                                                               \
            std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition);                         \
            std::abort();                                                                                              \
        }                                                                                                              \
    } while (false)
