# Everything comes from Debian 12 (scripts/install-deps); docs/dependencies.md says what each is for.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(RocksDB CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(GTest CONFIG REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# The programs under load allocate with jemalloc: glibc's allocator gives memory back and asks for
# it again all the time where threads free what others allocated (docs/performance.md). Sanitizers
# bring an allocator of their own.
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)
add_library(raftkv_allocator INTERFACE)
if(NOT RAFTKV_SANITIZE)
  target_link_libraries(raftkv_allocator INTERFACE PkgConfig::JEMALLOC)
endif()
