// raftkv-dump files: the tables of the database.
#include <cstdio>

#include "tools/dump/commands.h"
#include "tools/dump/directory.h"
#include "tools/dump/progress.h"
#include "tools/dump/sst_files.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

Json RangeJson(const std::optional<NumberRange>& range) {
  if (!range) return nullptr;
  return {{"first", range->first}, {"last", range->last}};
}

// Of a flush or a compaction that a crash cut short: no part of the database.
bool IsUnfinished(const SstListing& listing, const SstFile& file) {
  return listing.manifest.ok() && !file.level && file.status.code() == Code::kCorruption;
}

std::string StateText(const SstFile& file, bool verified, bool unfinished) {
  if (unfinished) return "unfinished";
  if (file.status.code() == Code::kNotFound) return "missing";
  if (!file.status.ok()) return "damaged";
  return verified ? "verified" : "readable";
}

Json FileJson(const SstFile& file, const std::string& state) {
  return {{"type", "file"},
          {"name", file.name},
          {"family", file.family.empty() ? Json(nullptr) : Json(file.family)},
          {"level", file.level ? Json(*file.level) : Json(nullptr)},
          {"bytes", file.bytes},
          {"entries", file.entries},
          {"deletions", file.deletions},
          {"range_deletions", file.range_deletions},
          {"smallest", Base64(file.smallest)},
          {"largest", Base64(file.largest)},
          {"indexes", RangeJson(file.indexes)},
          {"revisions", RangeJson(file.revisions)},
          {"state", state}};
}

std::string RangeText(const NumberRange& range) {
  return std::to_string(range.first) + " to " + std::to_string(range.last);
}

std::string FileText(const SstFile& file, const std::string& state) {
  char columns[160];
  std::snprintf(
      columns, sizeof(columns), "%-12s %-10s %5s %12llu %10llu %10llu  %-10s ", file.name.c_str(),
      file.family.empty() ? "?" : file.family.c_str(),
      file.level ? std::to_string(*file.level).c_str() : "-",
      static_cast<unsigned long long>(file.bytes), static_cast<unsigned long long>(file.entries),
      static_cast<unsigned long long>(file.deletions + file.range_deletions), state.c_str());
  if (file.indexes) return columns + (" indexes " + RangeText(*file.indexes));
  if (file.largest.empty()) return std::string(columns) + " unknown";
  std::string text = columns;
  if (file.revisions) text += " revisions " + RangeText(*file.revisions) + ",";
  return text + " \"" + EscapeText(file.smallest) + "\" to \"" + EscapeText(file.largest) + "\"";
}

class FilesCommand : public Command {
 public:
  explicit FilesCommand(CLI::App* app)
      : Command(app, {.name = "files",
                      .description =
                          "The tables (SST files): where they belong, what range of keys, log "
                          "indexes and revisions they hold, and whether they can be read. Works "
                          "where the directory can't be opened as a whole; levels are then unknown",
                      .example = "raftkv-dump files data/n1 --verify"}) {
    AddDirectory(&path_);
    this->app()->add_flag("--verify", options_.verify, "Check the checksum of every block");
  }

 private:
  Status Run(Report* report) override;
  void Show(const SstFile& file, bool unfinished, Report* report) const;

  std::string path_;
  SstFileOptions options_;
};

void FilesCommand::Show(const SstFile& file, bool unfinished, Report* report) const {
  const std::string state = StateText(file, options_.verify, unfinished);
  report->Record([&] { return FileText(file, state); }, [&] { return FileJson(file, state); });
  if (file.status.ok() || unfinished) return;
  if (file.family.empty()) {
    report->Problem(file.name + " can't be read: " + file.status.message(), {{"file", file.name}});
    return;
  }
  report->Problem(file.name + " of " + file.family + ": " + file.status.message(),
                  {{"file", file.name}});
}

Status FilesCommand::Run(Report* report) {
  RAFTKV_RETURN_IF_ERROR(NodeDirectory::CheckStopped(path_));
  RAFTKV_ASSIGN_OR_RETURN(SstListing listing, ListSstFiles(path_ + "/db"));
  if (!listing.manifest.ok()) report->Problem(listing.manifest.message());
  if (report->output().format == Format::kText) {
    report->Record(
        [] {
          return "name         family     level        bytes    entries  deletions  state       "
                 "range";
        },
        [] { return Json(); });
  }
  uint64_t bytes = 0;
  uint64_t unlisted = 0;
  {
    Progress progress(report, "reading", "tables", listing.files.size());
    for (SstFile& file : listing.files) {
      ExamineSstFile(options_, &file);
      bytes += file.bytes;
      if (listing.manifest.ok() && !file.level) ++unlisted;
      Show(file, IsUnfinished(listing, file), report);
      progress.Add();
    }
  }
  report->Record(
      [&] {
        std::string text =
            std::to_string(listing.files.size()) + " tables, " + std::to_string(bytes) + " bytes";
        if (unlisted > 0) {
          text += "; " + std::to_string(unlisted) +
                  " of them are no part of the database (a crash left them; a start removes them)";
        }
        return text;
      },
      [&] {
        return Json{{"type", "end"},
                    {"tables", listing.files.size()},
                    {"bytes", bytes},
                    {"unlisted", unlisted},
                    {"problems", report->problems()}};
      });
  return NodeDirectory::CheckStopped(path_);
}

}  // namespace

std::unique_ptr<Command> MakeFilesCommand(CLI::App* app) {
  return std::make_unique<FilesCommand>(app);
}

}  // namespace raftkv::tools::dump
