// What a log entry may do to one key, as far as the entry alone tells.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/types.h"

namespace raftkv::tools::dump {

struct KeyEffect {
  bool tombstone = false;
  uint64_t value_bytes = 0;
  uint32_t value_crc = 0;    // CRC-32C
  bool keeps_value = false;  // a put with ignore_value: the value is that before
};

// All that an entry may do to `key`, in either branch of a transaction: empty when it can't change
// it. An entry that does not decode changes nothing here.
std::vector<KeyEffect> EffectsOn(EntryKind kind, std::string_view payload, std::string_view key);

}  // namespace raftkv::tools::dump
