#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <vector>

#include "tools/dump/commands.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/progress.h"
#include "tools/dump/rebuild.h"
#include "tools/dump/scratch.h"
#include "tools/dump/state_reader.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

StatusOr<int64_t> ChooseRevision(int64_t asked, const store::AppliedRecord& applied) {
  if (asked == 0) return applied.revision;
  if (asked > applied.revision) {
    return Status(Code::kOutOfRange, "the newest revision here is " +
                                         std::to_string(applied.revision) +
                                         " (keys --replay may show newer ones)");
  }
  if (asked < applied.compact_revision) {
    return Status(
        Code::kOutOfRange,
        "revisions before " + std::to_string(applied.compact_revision) + " have been compacted");
  }
  return asked;
}

void PrintState(const store::AppliedRecord& applied, int64_t revision, uint64_t replayed,
                Report* report) {
  report->Record(
      [&] {
        return "state at revision " + std::to_string(revision) + " of " +
               std::to_string(applied.revision) + ", applied index " +
               std::to_string(applied.position.index.value()) + " term " +
               std::to_string(applied.position.term.value()) + ", " + std::to_string(replayed) +
               " entries replayed";
      },
      [&] {
        return Json{{"type", "state"},
                    {"revision", revision},
                    {"store_revision", applied.revision},
                    {"compact_revision", applied.compact_revision},
                    {"applied_index", applied.position.index.value()},
                    {"applied_term", applied.position.term.value()},
                    {"replayed", replayed}};
      });
}

// One version of a key; `values`: with the bytes of its value.
void PrintVersion(const KeyState& state, const char* type, bool values, Report* report) {
  const store::DataRecord& record = state.record;
  report->Record(
      [&] {
        std::string line = "\"" + EscapeText(state.key) + "\"";
        if (record.tombstone) {
          line += " deleted";
        } else if (values) {
          line += " = \"" + EscapeText(record.value) + "\"";
        } else {
          line += " (" + std::to_string(record.value.size()) + " bytes)";
        }
        if (!record.tombstone) line += "  create " + std::to_string(record.create_revision);
        line += (record.tombstone ? "  mod " : " mod ") + std::to_string(state.mod.main);
        if (!record.tombstone) line += " version " + std::to_string(record.version);
        if (record.lease != 0) line += " lease " + std::to_string(record.lease);
        return line;
      },
      [&] {
        Json json{{"type", type}, {"key", Base64(state.key)}};
        if (record.tombstone) {
          json["deleted"] = true;
          json["mod_revision"] = state.mod.main;
          return json;
        }
        if (values) json["value"] = Base64(record.value);
        json["value_bytes"] = record.value.size();
        json["create_revision"] = record.create_revision;
        json["mod_revision"] = state.mod.main;
        json["version"] = record.version;
        if (record.lease != 0) json["lease"] = record.lease;
        return json;
      });
}

class KeysCommand : public DirectoryCommand {
 public:
  explicit KeysCommand(CLI::App* app)
      : DirectoryCommand(
            app,
            {.name = "keys",
             .description = "The keys. What was applied but not flushed before a crash is "
                            "not in the directory as keys, only in the log: --replay adds it, "
                            "in a copy",
             .example = "raftkv-dump keys data/n1 --replay --prefix config/ --values"},
            Live::kAllowed) {
    CLI::App* const options = this->app();
    options->add_option("--prefix", prefix_, "Only keys that start so");
    options
        ->add_option("--range", range_,
                     "Only keys from the first on and before the second ('': to the last)")
        ->expected(2)
        ->excludes("--prefix");
    options->add_flag("--hex-input", hex_input_, "Keys on the command line are hexadecimal");
    options->add_flag("--history", history_,
                      "Every version that is still there, deletions too, newest first");
    options->add_flag("--values", values_, "Show the bytes of values");
    options->add_option("--limit", limit_, "At most so many");
    options->add_option("--revision", revision_, "As of this revision (0: the newest)");
    options->add_flag("--replay", replay_,
                      "Apply the log after the applied state, up to the commit index on disk: what "
                      "a restarted node serves before it hears from others");
    options->add_option("--through", through_, "Replay up to this index, or 'last'");
    options->add_option("--scratch-dir", scratch_dir_,
                        "Where to make the copy for --replay (default: $TMPDIR or /tmp; on the "
                        "file system of DIR it needs next to no space)");
  }

 private:
  Status Prepare() override;
  Status SetThrough();
  Status RunOn(const NodeDirectory& directory, Report* report) override;
  Status Show(store::Engine* engine, int64_t revision, uint64_t* shown, Report* report) const;

  std::string prefix_;
  std::vector<std::string> range_;  // from, end
  bool hex_input_ = false;
  bool history_ = false;
  bool values_ = false;
  std::optional<uint64_t> limit_;
  int64_t revision_ = 0;
  bool replay_ = false;
  std::string through_;
  std::string scratch_dir_;
  std::unique_ptr<ScratchDirectory> scratch_;
  RebuildOptions rebuild_;
};

Status KeysCommand::Prepare() {
  RAFTKV_RETURN_IF_ERROR(DirectoryCommand::Prepare());
  if (revision_ < 0) return Status(Code::kInvalidArgument, "--revision can't be negative");
  if (live() && replay_) {
    return Status(Code::kInvalidArgument,
                  "--replay works in a copy, which can't be made of a running node's directory");
  }
  if (hex_input_) {
    RAFTKV_RETURN_IF_ERROR(FromHexInput(&prefix_));
    for (std::string& key : range_) RAFTKV_RETURN_IF_ERROR(FromHexInput(&key));
  }
  RAFTKV_RETURN_IF_ERROR(SetThrough());
  if (!replay_) return Status::Ok();
  RAFTKV_ASSIGN_OR_RETURN(scratch_, ScratchDirectory::Make(scratch_dir_));
  return Status::Ok();
}

Status KeysCommand::SetThrough() {
  // The commit index on disk may lag what was applied: then the state as it is.
  rebuild_.target.kind = Target::Kind::kCommit;
  if (through_.empty()) return Status::Ok();
  if (!replay_) return Status(Code::kInvalidArgument, "--through needs --replay");
  if (through_ == "last") {
    rebuild_.target.kind = Target::Kind::kLast;
    return Status::Ok();
  }
  rebuild_.target.kind = Target::Kind::kIndex;
  const char* last = through_.data() + through_.size();
  const auto [end, error] = std::from_chars(through_.data(), last, rebuild_.target.value);
  if (error != std::errc() || end != last || rebuild_.target.value == 0) {
    return Status(Code::kInvalidArgument,
                  "--through takes an index or 'last', not '" + through_ + "'");
  }
  return Status::Ok();
}

Status KeysCommand::RunOn(const NodeDirectory& directory, Report* report) {
  store::Engine* engine = directory.engine();
  std::unique_ptr<RebuiltState> replayed;
  if (replay_) {
    rebuild_.report = report;
    RAFTKV_ASSIGN_OR_RETURN(replayed, RebuiltState::Make(directory, *scratch_, rebuild_));
    engine = replayed->engine();
  }
  RAFTKV_ASSIGN_OR_RETURN(const store::AppliedRecord applied, ReadAppliedOrInitial(engine));
  RAFTKV_ASSIGN_OR_RETURN(const int64_t revision, ChooseRevision(revision_, applied));
  PrintState(applied, revision, replayed ? replayed->replayed() : 0, report);
  uint64_t shown = 0;
  RAFTKV_RETURN_IF_ERROR(Show(engine, revision, &shown, report));
  const std::string what = history_ ? "versions" : "keys";
  const bool limited = limit_ && shown == *limit_;
  report->Record(
      [&] {
        return std::to_string(shown) + " " + what + (limited ? " shown, as --limit says" : "");
      },
      [&] {
        return Json{{"type", "end"}, {what, shown}, {"problems", report->problems()}};
      });
  return Status::Ok();
}

Status KeysCommand::Show(store::Engine* engine, int64_t revision, uint64_t* shown,
                         Report* report) const {
  const DataRange range = range_.empty() ? DataRange::StartingWith(prefix_)
                                         : DataRange::Between(range_.at(0), range_.at(1));
  Progress progress(report, "reading", history_ ? "versions" : "keys");
  // Called only while there is one more to show.
  const auto show = [&](const KeyState& state) {
    PrintVersion(state, history_ ? "version" : "key", values_, report);
    progress.Add();
    return ++*shown != limit_;
  };
  if (limit_ == 0) return Status::Ok();
  if (!history_) {
    return ForEachKey(engine, range, revision, show,
                      [&](const Status& damage) { report->Problem(damage.message()); });
  }
  return ForEachVersion(
      engine, range,
      [&](const KeyState& state) { return state.mod.main > revision || show(state); },
      [&](const KeyState&, const Status& damage) { report->Problem(damage.message()); });
}

}  // namespace

std::unique_ptr<Command> MakeKeysCommand(CLI::App* app) {
  return std::make_unique<KeysCommand>(app);
}

}  // namespace raftkv::tools::dump
