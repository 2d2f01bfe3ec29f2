# SPDX-License-Identifier: Apache-2.0
# One source to one fat binary, run by the build (see KvCuda.cmake). The assembler's account of registers, shared memory and
# spills goes to a file beside it; a warning is an error.
execute_process(
  COMMAND ${NVCC} -fatbin -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -lineinfo ${CODES} --Werror all-warnings -Xptxas=-v -I${INCLUDE}
          -MD -MF ${OUTPUT}.d -MT ${OUTPUT} -o ${OUTPUT} ${SOURCE}
  RESULT_VARIABLE failed OUTPUT_VARIABLE usage ERROR_VARIABLE usage)
string(REGEX REPLACE "\\.fatbin$" ".usage" log ${OUTPUT})
file(WRITE ${log} "${usage}")
if(failed)
  message(FATAL_ERROR "${usage}")
endif()
