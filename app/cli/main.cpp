// SPDX-License-Identifier: Apache-2.0
#include "engine/support/version.h"

#include <cstdio>

int main()
{
    std::printf("kvilt-cli %s\n", kvilt::version().data());
}
