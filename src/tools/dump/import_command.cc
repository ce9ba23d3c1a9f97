// raftkv-dump import: puts exported keys into a running cluster.
#include <chrono>
#include <memory>

#include "tools/ctl/client.h"
#include "tools/dump/commands.h"
#include "tools/dump/export_format.h"
#include "tools/dump/importer.h"
#include "tools/dump/progress.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

class ImportCommand : public Command {
 public:
  explicit ImportCommand(CLI::App* app)
      : Command(app, {.name = "import",
                      .description =
                          "Put the keys of an export (JSON lines) into a running cluster. A key "
                          "that is there with the same value is left alone, so that an import that "
                          "was broken off can be run again; one with another value ends it, unless "
                          "--overwrite is given",
                      .example = "raftkv-dump import keys.jsonl --endpoints 127.0.0.1:2379",
                      .shape = Shape::kDocument}) {
    CLI::App* const options = this->app();
    options->add_option("file", file_, "What export wrote")->required();
    options->add_option("--endpoints", endpoints_, "Nodes to ask, host:port, separated by commas")
        ->capture_default_str();
    options->add_flag("--overwrite", overwrite_, "Replace keys that have another value");
    options->add_flag("--partial", partial_, "Take an export in which keys are missing, too");
    options->add_option("--command-timeout", timeout_, "For each transaction, with its retries")
        ->capture_default_str();
  }

 private:
  Status Prepare() override {
    RAFTKV_ASSIGN_OR_RETURN(client_.endpoints, ctl::ParseEndpoints(endpoints_));
    const std::optional<uint64_t> ms = ParseDurationMs(timeout_);
    if (!ms) {
      return Status(Code::kInvalidArgument,
                    "--command-timeout: '" + timeout_ + "' is not a duration (such as 30s)");
    }
    client_.command_timeout = std::chrono::milliseconds(*ms);
    return Status::Ok();
  }

  Status Run(Report* report) override;
  StatusOr<ExportEnd> CheckFile(Report* report) const;

  std::string file_;
  std::string endpoints_ = "127.0.0.1:2379";
  std::string timeout_ = "30s";
  bool overwrite_ = false;
  bool partial_ = false;
  ctl::ClientOptions client_;
};

// Reads all of it, before anything is sent.
StatusOr<ExportEnd> ImportCommand::CheckFile(Report* report) const {
  RAFTKV_ASSIGN_OR_RETURN(const auto reader, ExportReader::Open(file_));
  Progress progress(report, "checking", "keys");
  ExportedKey key;
  for (;;) {
    RAFTKV_ASSIGN_OR_RETURN(const bool more, reader->Next(&key));
    if (!more) break;
    progress.Add();
  }
  if (!reader->end().complete && !partial_) {
    return Status(Code::kFailedPrecondition,
                  file_ +
                      " says that not all keys could be read when it was made; --partial "
                      "imports what there is");
  }
  return reader->end();
}

Status ImportCommand::Run(Report* report) {
  RAFTKV_ASSIGN_OR_RETURN(const ExportEnd end, CheckFile(report));
  RAFTKV_ASSIGN_OR_RETURN(const auto reader, ExportReader::Open(file_));
  ctl::Client client(client_, ctl::Clock::Real());
  Importer importer(&client, overwrite_);
  Progress progress(report, "importing", "keys", end.keys);
  Status status;
  ExportedKey key;
  while (status.ok()) {
    RAFTKV_ASSIGN_OR_RETURN(const bool more, reader->Next(&key));
    if (!more) break;
    status = importer.Add(std::move(key));
    progress.Add();
  }
  if (status.ok()) status = importer.Finish();
  const ImportCounts& counts = importer.counts();
  report->Record(
      [&] {
        std::string text = std::to_string(counts.created) + " keys imported, " +
                           std::to_string(counts.present) + " were there already, " +
                           std::to_string(counts.overwritten) + " overwritten, of " +
                           std::to_string(end.keys);
        if (counts.leases > 0) {
          text += "; " + std::to_string(counts.leases) +
                  " had a lease, which is not of this cluster: they are here without";
        }
        return text;
      },
      [&] {
        return Json{{"type", "imported"},
                    {"keys", end.keys},
                    {"created", counts.created},
                    {"present", counts.present},
                    {"overwritten", counts.overwritten},
                    {"leases_left_out", counts.leases}};
      });
  if (!status.ok()) {
    return Status(status.code() == Code::kCorruption ? Code::kInternal : status.code(),
                  "not all was imported: " + status.message());
  }
  return Status::Ok();
}

}  // namespace

std::unique_ptr<Command> MakeImportCommand(CLI::App* app) {
  return std::make_unique<ImportCommand>(app);
}

}  // namespace raftkv::tools::dump
