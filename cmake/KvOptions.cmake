# SPDX-License-Identifier: Apache-2.0
# Compiler settings that every target of the project shares.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Qt 6.4 moc stumbles over <concepts> once it is told the compiler's predefined macros.
set(CMAKE_AUTOMOC_COMPILER_PREDEFINES OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
if(KVILT_SANITIZE)
  # The kernels' templates take minutes to compile when checks are added to code that is inlined everywhere.
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
endif()

find_program(KVILT_CCACHE ccache)
if(KVILT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${KVILT_CCACHE}")
endif()
find_program(KVILT_LLD ld.lld)
if(KVILT_LLD)
  add_link_options(-fuse-ld=lld)
endif()

# No fused multiply-add unless the source writes one: g++ contracts intrinsics too, and only where the
# target has FMA, so the same source would give different bits on different instruction sets.
add_compile_options(-ffp-contract=off -fno-math-errno -fno-trapping-math
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
# Sanitizers change what the optimiser sees, and with it g++'s warnings: those builds are for running.
if(NOT KVILT_SANITIZE)
  add_compile_options(-Werror)
endif()

if(KVILT_SANITIZE)
  add_compile_options(-fsanitize=${KVILT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${KVILT_SANITIZE})
endif()
