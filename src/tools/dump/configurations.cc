#include "tools/dump/configurations.h"

#include "common/membership_codec.h"

namespace raftkv::tools::dump {

StatusOr<std::vector<Configuration>> ReadConfigurations(
    store::Engine* engine, const LogMeta& meta, const std::function<void()>& read,
    const std::function<void(const std::string&)>& damaged) {
  std::vector<Configuration> found;
  if (meta.membership.ok() && meta.before_first.ok()) {
    found.push_back({*meta.before_first, /*in_log=*/false, *meta.membership});
  } else {
    damaged("the configuration at the log's start: " + (meta.membership.ok()
                                                            ? meta.before_first.status().message()
                                                            : meta.membership.status().message()));
  }
  RAFTKV_ASSIGN_OR_RETURN(const LogBounds bounds, ReadLogBounds(engine, meta));
  if (bounds.first > bounds.last) return found;
  RAFTKV_RETURN_IF_ERROR(
      ForEachRecord(engine, bounds.first, bounds.last, [&](const LogRecord& record) {
        read();
        const std::string index = std::to_string(record.index.value());
        if (!record.missing_to.none()) {
          damaged("entries " + index + " to " + std::to_string(record.missing_to.value()) +
                  " are missing");
          return;
        }
        if (!record.entry.ok()) {
          damaged("entry " + index + ": " + record.entry.status().message());
          return;
        }
        if (record.entry->kind != EntryKind::kConfig) return;
        StatusOr<Membership> membership = DecodeMembership(record.entry->payload);
        if (!membership.ok()) {
          damaged("the configuration in entry " + index + ": " + membership.status().message());
          return;
        }
        found.push_back(
            {{record.index, record.entry->term}, /*in_log=*/true, *std::move(membership)});
      }));
  return found;
}

}  // namespace raftkv::tools::dump
