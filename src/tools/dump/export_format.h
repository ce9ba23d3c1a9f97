// Keys and values as JSON lines: what export writes and import reads.
//
//   {"raftkv_export":1,"cluster_id":"c1","revision":8,"compact_revision":0,"index":9}
//   {"key":"a","value":"1","create_revision":3,"mod_revision":3,"version":1}
//   {"key_b64":"Yv8=","value":"2",...,"lease":7}
//   {"end":true,"keys":2,"complete":true,"sha256":"..."}
//
// In order of the keys' bytes. Bytes that are not UTF-8 go as base64 into a field of that name. The
// last line says that the file is whole: the number of keys, whether all could be read where they
// came from, and the SHA-256 of every byte before that line.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"
#include "store/sha256.h"

namespace raftkv::tools::dump {

inline constexpr int kExportVersion = 1;

struct ExportHeader {
  std::string cluster_id;
  int64_t revision = 0;
  int64_t compact_revision = 0;
  uint64_t index = 0;
};

struct ExportedKey {
  std::string key;
  std::string value;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
};

struct ExportEnd {
  uint64_t keys = 0;
  bool complete = true;
};

// Lines, newline included.
std::string EncodeExportHeader(const ExportHeader& header);
std::string EncodeExportedKey(const ExportedKey& key);
std::string EncodeExportEnd(const ExportEnd& end, const std::string& sha256);

// Reads a file line by line. Not thread-safe.
class ExportReader {
 public:
  // Reads the header. kIoError; kInvalidArgument when it is no export; kFailedPrecondition for one
  // of a newer version.
  static StatusOr<std::unique_ptr<ExportReader>> Open(const std::string& path);

  const ExportHeader& header() const { return header_; }

  // The next key; false once the end was read and found right. kCorruption, with the line's number,
  // for what is malformed, out of order, cut off or changed.
  StatusOr<bool> Next(ExportedKey* key);
  // After Next returned false.
  const ExportEnd& end() const { return end_; }

 private:
  explicit ExportReader(const std::string& path) : path_(path), in_(path, std::ios::binary) {}
  Status ReadHeader();
  Status Bad(const std::string& what) const;

  const std::string path_;
  std::ifstream in_;
  uint64_t line_ = 0;
  ExportHeader header_;
  ExportEnd end_;
  store::Sha256 digest_;
  uint64_t keys_ = 0;
  std::string last_key_;
};

}  // namespace raftkv::tools::dump
