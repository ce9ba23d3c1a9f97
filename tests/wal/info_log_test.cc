// RocksDB's own log on a disk that takes nothing any more.

#include "store/info_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

TEST(InfoLog, ALineThatCantBeWrittenIsLeftOut) {
  const TempDir dir;
  std::filesystem::create_symlink("/dev/full", dir.Sub("LOG"));
  const auto log = store::OpenInfoLog(dir.Sub(""));
  // RocksDB's own logger aborts at the second.
  for (int i = 0; i < 3; ++i) rocksdb::Info(log, "line %d", i);
}

TEST(InfoLog, AFileThatCantBeMadeIsDoneWithout) {
  const TempDir dir;
  const auto log = store::OpenInfoLog("/dev/null/none");
  rocksdb::Info(log, "line");
}

TEST(InfoLog, LinesAreInTheFileAtOnce) {
  const TempDir dir;
  const auto log = store::OpenInfoLog(dir.Sub(""));
  rocksdb::Info(log, "flushed %d tables", 7);
  std::ostringstream text;
  text << std::ifstream(dir.Sub("LOG")).rdbuf();
  EXPECT_NE(text.str().find("flushed 7 tables\n"), std::string::npos) << text.str();
}

}  // namespace
}  // namespace raftkv::wal
