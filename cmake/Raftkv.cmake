# How this project's targets are made: the same warnings everywhere, one include root.

# Options for our own code only; generated code is compiled without them.
add_library(raftkv_options INTERFACE)
target_compile_options(raftkv_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror
  # Members left out of a designated initializer have their defaults, which is the point of them.
  -Wno-missing-field-initializers
  # g++ 12 gives this for members of a std::variant that is moved, wrongly, as soon as it optimizes.
  # valgrind and the sanitizers find the real ones.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
target_include_directories(raftkv_options INTERFACE ${CMAKE_SOURCE_DIR}/src)

# Known bugs that can be switched on, for scripts/sim-mutations alone (src/common/mutation.h).
option(RAFTKV_MUTATIONS "Build with known bugs to put back" OFF)
if(RAFTKV_MUTATIONS)
  add_compile_definitions(RAFTKV_MUTATIONS)
endif()

# Sanitizers, chosen by a preset. Everything in the process must be built with them.
set(RAFTKV_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=")
if(RAFTKV_SANITIZE)
  add_compile_options(-fsanitize=${RAFTKV_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${RAFTKV_SANITIZE})
endif()

# raftkv_library(name SOURCES a.cc ... [DEPENDS other ...])
function(raftkv_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS} PRIVATE raftkv_options)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
endfunction()

# raftkv_binary(name SOURCES a.cc ... [DEPENDS other ...]): an installed program, in <build>/bin.
function(raftkv_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} raftkv_options)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  install(TARGETS ${name} RUNTIME DESTINATION bin)
endfunction()

# raftkv_test(name SOURCES a.cc ... [DEPENDS other ...] [TIMEOUT seconds]): a GoogleTest program whose
# tests ctest runs and counts one by one, with the program's name as their label.
function(raftkv_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} raftkv_options GTest::gmock GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE RAFTKV_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  gtest_discover_tests(${name}
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS ${name} DISCOVERY_TIMEOUT 60)
endfunction()
include(GoogleTest)
