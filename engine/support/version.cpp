// SPDX-License-Identifier: Apache-2.0
#include "engine/support/version.h"

namespace kvilt {
std::string_view version()
{
    return KVILT_VERSION;
}
} // namespace kvilt
