#include "store/kv_prefix.h"

#include <cstring>

#include "store/kv_kinds.h"

namespace raftkv::store {
namespace {

class KvPrefixTransform : public rocksdb::SliceTransform {
 public:
  // The name is stored with each filter: a change of what is extracted needs a new one.
  const char* Name() const override { return "raftkv.KvPrefix.1"; }

  rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
    return {key.data(), PrefixSize(key)};
  }

  bool InDomain(const rocksdb::Slice& key) const override { return PrefixSize(key) > 0; }

 private:
  // 0: no prefix.
  static size_t PrefixSize(const rocksdb::Slice& key) {
    if (key.empty()) return 0;
    if (key[0] == kSessionKind) return key.size();
    if (key[0] != kDataKind) return 0;
    // The escaped user key ends with 00 01; a zero byte within it is 00 FF.
    for (size_t from = 1; from + 1 < key.size();) {
      const void* zero = std::memchr(key.data() + from, '\0', key.size() - 1 - from);
      if (zero == nullptr) return 0;
      from = static_cast<size_t>(static_cast<const char*>(zero) - key.data()) + 2;
      if (key[from - 1] == '\x01') return from;
    }
    return 0;
  }
};

class KvInsertHintTransform : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "raftkv.KvInsertHint.2"; }
  rocksdb::Slice Transform(const rocksdb::Slice& key) const override { return {key.data(), 1}; }
  bool InDomain(const rocksdb::Slice& key) const override {
    return !key.empty() && (key[0] == kRevisionKind || key[0] == kDataKind);
  }
};

}  // namespace

const rocksdb::SliceTransform* NewKvPrefixTransform() { return new KvPrefixTransform(); }

const rocksdb::SliceTransform* NewKvInsertHintTransform() { return new KvInsertHintTransform(); }

}  // namespace raftkv::store
