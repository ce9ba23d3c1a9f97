# Compile through ccache where it is installed: a second checkout or build type is then quick.
find_program(RAFTKV_CCACHE ccache)
if(RAFTKV_CCACHE)
  # Paths relative to the source tree, so that build directories share results.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      ${RAFTKV_CCACHE})
endif()
