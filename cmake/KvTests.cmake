# SPDX-License-Identifier: Apache-2.0

# kvilt_add_tests(<program> LIBS <targets> SOURCES <tst_*.cpp> [EXTRA <helpers.cpp>])
# One executable from Qt Test classes. tst_block_pool.cpp must hold the class BlockPoolTest and end with
# KVILT_TEST_CLASS(BlockPoolTest) and #include "tst_block_pool.moc"; CTest gets one entry a class. A line
# "// labels: concurrent" in the source gives that entry the label: such classes run under TSan too.
function(kvilt_add_tests program)
  cmake_parse_arguments(ARG "" "" "LIBS;SOURCES;EXTRA" ${ARGN})
  if(KVILT_SANITIZE STREQUAL "thread") # the other classes have one thread: nothing to see, minutes to compile
    set(concurrent "")
    foreach(source IN LISTS ARG_SOURCES)
      file(STRINGS ${source} labels REGEX "^// labels: .*concurrent" LIMIT_COUNT 1)
      if(labels)
        list(APPEND concurrent ${source})
      endif()
    endforeach()
    set(ARG_SOURCES ${concurrent})
  endif()
  add_executable(${program} ${ARG_SOURCES} ${ARG_EXTRA} ${CMAKE_SOURCE_DIR}/tests/support/child_process.cpp
    ${CMAKE_SOURCE_DIR}/tests/support/test_main.cpp)
  set_target_properties(${program} PROPERTIES AUTOMOC ON)
  target_include_directories(${program} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${program} PRIVATE ${ARG_LIBS} Qt6::Test)
  target_compile_definitions(${program} PRIVATE KVILT_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
    KVILT_SOURCE_DIR="${CMAKE_SOURCE_DIR}" KVILT_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  foreach(source IN LISTS ARG_SOURCES)
    get_filename_component(stem ${source} NAME_WE)
    string(REGEX REPLACE "^tst_" "" stem ${stem})
    string(REPLACE "_" ";" words ${stem})
    set(class "")
    foreach(word IN LISTS words)
      string(SUBSTRING ${word} 0 1 head)
      string(SUBSTRING ${word} 1 -1 tail)
      string(TOUPPER ${head} head)
      string(APPEND class "${head}${tail}")
    endforeach()
    string(APPEND class "Test")
    add_test(NAME ${program}.${class} COMMAND ${program} --class ${class})
    set_tests_properties(${program}.${class} PROPERTIES
      ENVIRONMENT "QT_QPA_PLATFORM=offscreen" TIMEOUT 900 SKIP_RETURN_CODE 77)
    file(STRINGS ${source} labels REGEX "^// labels: " LIMIT_COUNT 1)
    if(labels)
      string(REPLACE "// labels: " "" labels "${labels}")
      set_tests_properties(${program}.${class} PROPERTIES LABELS "${labels}")
    endif()
  endforeach()
endfunction()
