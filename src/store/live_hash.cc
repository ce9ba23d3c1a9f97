#include "store/live_hash.h"

#include <string>
#include <string_view>

#include "common/coding.h"
#include "common/crc32c.h"

namespace raftkv::store {

StatusOr<uint32_t> HashLiveKeys(MvccView* view, int64_t at, const std::function<bool()>& stop) {
  constexpr uint64_t kKeysBetweenStops = 1024;
  uint32_t crc = 0;
  uint64_t keys = 0;
  bool stopped = stop && stop();
  std::string fields;  // scratch
  KeyRange all;
  all.unbounded = true;
  RAFTKV_RETURN_IF_ERROR(view->Scan(all, at, [&](const KeyVersion& version) {
    if (!stopped && ++keys % kKeysBetweenStops == 0 && stop) stopped = stop();
    if (stopped) return false;
    fields.clear();
    AppendLengthPrefixed(&fields, version.key);
    AppendVarint(&fields, static_cast<uint64_t>(version.create_revision));
    AppendVarint(&fields, static_cast<uint64_t>(version.mod.main));
    AppendVarint(&fields, static_cast<uint64_t>(version.version));
    AppendVarint(&fields, static_cast<uint64_t>(version.lease));
    AppendVarint(&fields, version.value.size());
    crc = ExtendCrc32c(ExtendCrc32c(crc, fields), version.value);
    return true;
  }));
  if (stopped) return Status(Code::kCancelled, "hashing the keys was stopped");
  return crc;
}

}  // namespace raftkv::store
