#include "tools/dump/verify.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/dump/directory.h"
#include "tools/dump/findings.h"
#include "tools/dump/sst_files.h"
#include "tools/dump/start_outlook.h"
#include "tools/dump/steps.h"
#include "tools/dump/verify_files.h"
#include "tools/dump/verify_kv.h"
#include "tools/dump/verify_log.h"
#include "tools/dump/verify_replay.h"
#include "tools/dump/verify_tables.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

// Only reads: what is read is read once.
constexpr uint64_t kCacheBytes = 16 << 20;

constexpr char kDatabase[] = "database";

class Verifier {
 public:
  Verifier(std::string path, const VerifyOptions& options, Report* report)
      : path_(std::move(path)),
        options_(options),
        report_(report),
        show_([report](const Json& record) { ShowFinding(record, report); }),
        findings_(options.shown_max, show_) {}

  Status Run() {
    RAFTKV_RETURN_IF_ERROR(NodeDirectory::CheckNotRunning(path_));
    RAFTKV_ASSIGN_OR_RETURN(const bool has_database, HasDatabase());
    if (has_database) {
      files_ = VerifyFiles(path_, &findings_);
      if (files_.may_open) RAFTKV_RETURN_IF_ERROR(RunSteps(DatabaseSteps()));
      if (deep()) RAFTKV_RETURN_IF_ERROR(VerifyTables(db_path(), report_, &findings_));
    }
    // A node that started meanwhile may have changed what was being read.
    RAFTKV_RETURN_IF_ERROR(NodeDirectory::CheckNotRunning(path_));
    End();
    return Status::Ok();
  }

 private:
  bool deep() const { return options_.scratch != nullptr; }
  std::string db_path() const { return path_ + "/db"; }

  // False, and a finding, when it was deleted. kNotFound when the directory is no node's.
  StatusOr<bool> HasDatabase() {
    std::error_code error;
    if (!fs::is_directory(path_, error)) {
      return Status(Code::kNotFound, path_ + " is not a directory");
    }
    if (fs::is_directory(db_path(), error)) return true;
    if (!fs::is_regular_file(path_ + "/" + kMemberMarker, error)) {
      return Status(Code::kNotFound,
                    path_ + " has no db (give the node's --data-dir; this is not one)");
    }
    findings_.Problem({"files",
                       {.file = "db"},
                       "the directory has belonged to a node, but its database is gone",
                       "its log and vote are lost, and a start refuses: an empty node under the "
                       "same identity could lose acknowledged writes",
                       kReplaceAdvice});
    return false;
  }

  Status RunSteps(const std::vector<Step>& steps) {
    return dump::RunSteps(steps, options_.shown_max, show_);
  }

  std::vector<Step> DatabaseSteps() {
    std::vector<Step> steps{{"opening the database", [this](auto* found) { return Open(found); }}};
    const auto add = [&](std::string name, std::function<void(Findings*)> work) {
      steps.push_back({std::move(name),
                       [this, work](Findings* findings) {
                         // A new child, after a crash, opens it again.
                         if (!engine_ && !Open(findings)) return false;
                         work(findings);
                         return true;
                       },
                       /*needs_first=*/true});
    };
    add("reading the log", [this](auto* found) { VerifyLog(engine_.get(), found); });
    add("looking at unused tables",
        [this](auto* found) { VerifyUnusedTables(engine_.get(), db_path(), found); });
    add("reading the applied state", [this](auto* found) { VerifyKv(engine_.get(), found); });
    if (files_.wal_is_whole) add("checking as a start does", [this](auto* found) { Start(found); });
    if (deep()) {
      add("making the state from the log",
          [this](auto* found) { VerifyReplay(engine_.get(), *options_.scratch, report_, found); });
    }
    return steps;
  }

  // In a child.
  bool Open(Findings* findings) {
    store::EngineOptions options;
    options.path = db_path();
    options.wal_recovery = files_.recovery;
    options.block_cache_bytes = kCacheBytes;
    StatusOr<std::unique_ptr<store::Engine>> engine = store::Engine::OpenReadOnly(options);
    if (!engine.ok()) {
      findings->Problem({kDatabase,
                         {.file = "db"},
                         engine.status().message(),
                         "a start refuses; log and state could not be checked",
                         kReplaceAdvice});
      return false;
    }
    engine_ = *std::move(engine);
    return true;
  }

  void Start(Findings* findings) {
    const StatusOr<StartOutlook> outlook = ForeseeStart(path_, engine_.get());
    const Status status = outlook.status();
    if (status.code() == Code::kFailedPrecondition) {
      findings->Note({"start", {}, "a start refuses: " + status.message(), {}, {}});
    } else if (!status.ok()) {
      findings->Problem({"start", {}, status.message(), "a start refuses", kReplaceAdvice});
    } else {
      ComparePromises(outlook->verdict, findings);
    }
    const bool has_fence = outlook.ok() && outlook->has_fence;
    findings->Done("start", has_fence ? "what a start checks of log, state and fence"
                                      : "what a start checks of log and state");
  }

  static void ComparePromises(const wal::StartVerdict& verdict, Findings* findings) {
    const Place place{.file = wal::kFenceFile};
    if (verdict.forgot_vote) {
      findings->Note({"start",
                      place,
                      "the database does not know of term " +
                          std::to_string(verdict.hard_state.term.value()) +
                          " and the vote in it, the fence does",
                      "a crash between the two leaves that; a start takes them from the fence",
                      {}});
    }
    if (verdict.lost.empty()) return;
    findings->Problem({"start", place, verdict.lost,
                       "a node starts on it, but can't be elected, and votes for nobody who lacks "
                       "these entries, until it has fetched them from the other members",
                       "let it fetch them, or replace it; if no other member is left, restore a "
                       "backup, or raftkv-dump salvage makes a new cluster of what is here"});
  }

  void End() {
    const size_t problems = report_->problems();
    report_->Record(
        [&] {
          return problems == 0 ? std::string(deep() ? "whole: no problems"
                                                    : "no problems (--deep looks closer)")
                               : std::to_string(problems) + " problem(s)";
        },
        [&] {
          return Json{{"type", "end"}, {"deep", deep()}, {"problems", problems}};
        });
  }

  const std::string path_;
  const VerifyOptions options_;
  Report* const report_;
  const Findings::Sink show_;
  Findings findings_;
  FilesVerified files_;
  std::unique_ptr<store::Engine> engine_;  // in a child only
};

}  // namespace

Status Verify(const std::string& path, const VerifyOptions& options, Report* report) {
  return Verifier(path, options, report).Run();
}

}  // namespace raftkv::tools::dump
