#include "wal/keys.h"

#include "common/coding.h"

namespace raftkv::wal {

std::string LogKey(Index index) {
  std::string key;
  key.reserve(kLogKeyBytes);
  AppendBigEndian64(&key, index.value());
  return key;
}

std::optional<Index> ParseLogKey(std::string_view key) {
  uint64_t value = 0;
  if (key.size() != kLogKeyBytes || !ConsumeBigEndian64(&key, &value) || value == 0) {
    return std::nullopt;
  }
  return Index(value);
}

}  // namespace raftkv::wal
