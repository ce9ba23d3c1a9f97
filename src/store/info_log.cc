#include "store/info_log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <string_view>

namespace raftkv::store {
namespace {

constexpr size_t kFileBytesMax = 16 << 20;
constexpr size_t kFormerFiles = 4;
constexpr size_t kLineBytesMax = 4096;  // what is longer is cut off

class NullLogger : public rocksdb::Logger {
 public:
  void Logv(const char*, va_list) override {}
};

class FileLogger : public rocksdb::Logger {
 public:
  // Throws spdlog_ex when the file can't be opened.
  explicit FileLogger(const std::string& path)
      : logger_("", std::make_shared<spdlog::sinks::rotating_file_sink_mt>(path, kFileBytesMax,
                                                                           kFormerFiles)) {
    logger_.set_pattern("%Y/%m/%d-%H:%M:%S.%f %t %v");
    logger_.flush_on(spdlog::level::trace);  // the last lines are those that a crash makes wanted
    logger_.set_error_handler([](const std::string&) {});
  }

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    std::array<char, kLineBytesMax> line;
    const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
    if (length < 0) return;
    const size_t size = std::min(static_cast<size_t>(length), line.size() - 1);
    logger_.log(spdlog::level::info, std::string_view(line.data(), size));
  }

 private:
  spdlog::logger logger_;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> OpenInfoLog(const std::string& directory) {
  try {
    return std::make_shared<FileLogger>(directory + "/LOG");
  } catch (const spdlog::spdlog_ex& error) {
    spdlog::warn("RocksDB keeps no log of its own: {}", error.what());
    return NoInfoLog();
  }
}

std::shared_ptr<rocksdb::Logger> NoInfoLog() { return std::make_shared<NullLogger>(); }

}  // namespace raftkv::store
