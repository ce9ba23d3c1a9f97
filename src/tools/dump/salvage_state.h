// The newest state that can be proven from what is left of a damaged database.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "store/applied_record.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "store/snapshot_source.h"
#include "tools/dump/report.h"
#include "tools/dump/salvage_database.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

// Something that is not in the salvaged state, or may not be.
struct Loss {
  std::string what;
  Json fields = Json::object();  // for programs
};

// How far what is left of a database goes, whether that is proven or not.
struct Extent {
  Index log_cut;  // the log begins behind it
  LogPosition log_end;
  Index commit;
  Index applied;
};
Extent ExtentOf(const SalvagedDatabase& database, const TableList& tables);

// A state is proven when it was one that the node had: the stored state where every table of it is
// intact; an earlier one where all that is lost was flushed after all that is left; or the empty
// one where the log begins at 1. After it every log entry that is intact, up to the first that is
// not or that something behind damage might have replaced.
//
// Where there is no such state, what is left are the keys themselves: each version has its own
// checksum, but a newer version, or the deletion, may have been in what was lost. The log is not
// applied to that, since its transactions would not see what they saw.
//
// Not thread-safe.
class SalvagedState {
 public:
  // `database` must outlive it.
  static StatusOr<std::unique_ptr<SalvagedState>> Make(const SalvagedDatabase& database,
                                                       const TableList& tables,
                                                       const ScratchDirectory& scratch);

  bool proven() const { return base_ != Base::kParts; }
  std::string BaseText() const;
  // Whether it is proven and the log goes on where it ends, as far as anything else goes that is
  // left, too.
  bool Covers(const Extent& all) const;
  // The last entry applied; what it stands for if not proven() is only where its record was.
  const store::AppliedRecord& applied() const { return applied_; }
  uint64_t replayed() const { return replayed_; }
  uint64_t keys() const { return keys_; }
  const std::vector<Loss>& losses() const { return losses_; }
  const std::optional<store::NodeIdentity>& identity() const { return identity_; }

  // All of it, to be read once.
  StatusOr<std::unique_ptr<store::SnapshotSource>> TakeSource();

 private:
  enum class Base { kStored, kEarlier, kEmpty, kParts };
  class Builder;
  SalvagedState() = default;

  std::string path_;
  Base base_ = Base::kParts;
  Extent extent_;  // of what it was made from
  std::optional<store::NodeIdentity> identity_;
  std::unique_ptr<store::Engine> engine_;
  store::AppliedRecord applied_;
  uint64_t replayed_ = 0;
  uint64_t keys_ = 0;
  std::vector<Loss> losses_;
};

}  // namespace raftkv::tools::dump
