// raftkv-dump export: the keys and values, for import or for other programs.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <vector>

#include "store/engine_files.h"
#include "tools/dump/commands.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/export_format.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/progress.h"
#include "tools/dump/rebuild_flags.h"
#include "tools/dump/state_reader.h"
#include "tools/support/output_file.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

// Where the export goes, with the digest of all that went.
class Sink {
 public:
  explicit Sink(int fd) : fd_(fd) {}

  void Write(std::string_view bytes) {
    digest_.Update(bytes);
    buffer_.append(bytes);
    if (buffer_.size() >= kBufferBytes) Flush();
  }

  bool Flush() {
    std::string_view rest = buffer_;
    while (!rest.empty() && ok_) {
      const ssize_t n = write(fd_, rest.data(), rest.size());
      if (n > 0) rest.remove_prefix(static_cast<size_t>(n));
      if (n < 0 && errno != EINTR) ok_ = false;
    }
    buffer_.clear();
    return ok_;
  }

  std::string Digest() const { return digest_.Digest(); }

 private:
  static constexpr size_t kBufferBytes = 256 << 10;

  const int fd_;
  std::string buffer_;
  store::Sha256 digest_;
  bool ok_ = true;
};

// One form of the keys. Begin, then the keys, then End.
class Form {
 public:
  virtual ~Form() = default;
  virtual std::string Begin(const ExportHeader& header) = 0;
  virtual std::string Key(const ExportedKey& key) = 0;
  virtual std::string End(const ExportEnd& end, const std::string& sha256) = 0;
};

class JsonLinesForm : public Form {
 public:
  std::string Begin(const ExportHeader& header) override { return EncodeExportHeader(header); }
  std::string Key(const ExportedKey& key) override { return EncodeExportedKey(key); }
  std::string End(const ExportEnd& end, const std::string& sha256) override {
    return EncodeExportEnd(end, sha256);
  }
};

// As `etcdctl get "" --from-key -w json` prints it: one object, keys and values in base64.
class EtcdctlForm : public Form {
 public:
  std::string Begin(const ExportHeader& header) override {
    return "{\"header\":{\"revision\":" + std::to_string(header.revision) + "},\"kvs\":[";
  }
  std::string Key(const ExportedKey& key) override {
    std::string out = first_ ? "" : ",";
    first_ = false;
    out += "{\"key\":\"" + Base64(key.key) +
           "\",\"create_revision\":" + std::to_string(key.create_revision) +
           ",\"mod_revision\":" + std::to_string(key.mod_revision) +
           ",\"version\":" + std::to_string(key.version) + ",\"value\":\"" + Base64(key.value) +
           "\"";
    if (key.lease != 0) out += ",\"lease\":" + std::to_string(key.lease);
    return out + "}";
  }
  std::string End(const ExportEnd& end, const std::string&) override {
    return "],\"count\":" + std::to_string(end.keys) + "}\n";
  }

 private:
  bool first_ = true;
};

class ExportCommand : public DirectoryCommand {
 public:
  explicit ExportCommand(CLI::App* app)
      : DirectoryCommand(
            app, {.name = "export",
                  .description = "Write all keys and values, with what only the log holds: as JSON "
                                 "lines, which import takes, or as etcdctl prints them",
                  .example = "raftkv-dump export data/n1 --out keys.jsonl",
                  .shape = Shape::kDocument}) {
    CLI::App* const options = this->app();
    options->add_option("--out", out_, "The file to make; replaced in one step if it is there")
        ->required();
    options->add_option("--format", form_, "jsonl, or etcdctl: as 'etcdctl get -w json'")
        ->check(CLI::IsMember({"jsonl", "etcdctl"}))
        ->capture_default_str();
    options->add_option("--prefix", prefix_, "Only keys that start so");
    options->add_flag("--hex-input", hex_input_, "The prefix is hexadecimal");
    flags_.AddTo(options, /*to_is_required=*/false);
  }

 private:
  Status Prepare() override;
  Status RunOn(const NodeDirectory& directory, Report* report) override;
  Status Write(store::Engine* engine, const store::AppliedRecord& applied, int64_t revision,
               Report* report);
  Status WriteFile(store::Engine* engine, const ExportHeader& header, Report* report);
  Status WriteTo(int fd, store::Engine* engine, const ExportHeader& header, Report* report);

  std::string out_;
  std::string form_ = "jsonl";
  std::string prefix_;
  bool hex_input_ = false;
  RebuildFlags flags_;
  ExportEnd end_;
  std::vector<std::string> damage_;
};

Status ExportCommand::Prepare() {
  if (hex_input_) {
    const std::optional<std::string> prefix = FromHex(prefix_);
    if (!prefix) return Status(Code::kInvalidArgument, "'" + prefix_ + "' is not hexadecimal");
    prefix_ = *prefix;
  }
  return flags_.Prepare();
}

Status ExportCommand::RunOn(const NodeDirectory& directory, Report* report) {
  RAFTKV_ASSIGN_OR_RETURN(const store::AppliedRecord stored,
                          ReadAppliedOrInitial(directory.engine()));
  // An older revision may still be there as such, without any replay.
  const Target& target = flags_.options().target;
  const auto revision = static_cast<int64_t>(target.value);
  if (target.kind == Target::Kind::kRevision && revision <= stored.revision &&
      revision >= stored.compact_revision && flags_.options().snapshot_file.empty()) {
    return Write(directory.engine(), stored, revision, report);
  }
  flags_.options().report = report;
  RAFTKV_ASSIGN_OR_RETURN(const auto state,
                          RebuiltState::Make(directory, flags_.scratch(), flags_.options()));
  const store::AppliedRecord applied = state->kv().applied();
  return Write(state->engine(), applied, applied.revision, report);
}

Status ExportCommand::Write(store::Engine* engine, const store::AppliedRecord& applied,
                            int64_t revision, Report* report) {
  const ExportHeader header{IdText(engine->identity().cluster.value()), revision,
                            applied.compact_revision, applied.position.index.value()};
  RAFTKV_RETURN_IF_ERROR(WriteFile(engine, header, report));
  const std::string what = std::to_string(end_.keys) + " keys as of revision " +
                           std::to_string(revision) + ", index " + std::to_string(header.index);
  report->Record([&] { return out_ + ": " + what; },
                 [&] {
                   return Json{{"type", "exported"},   {"out", out_},
                               {"keys", end_.keys},    {"complete", end_.complete},
                               {"revision", revision}, {"index", header.index}};
                 });
  for (const std::string& damage : damage_) report->Problem("a key is left out: " + damage);
  return Status::Ok();
}

// Under its own name only once it is whole and on disk.
Status ExportCommand::WriteFile(store::Engine* engine, const ExportHeader& header, Report* report) {
  RAFTKV_ASSIGN_OR_RETURN(const OutputPlace file, PlaceOutput(out_));
  const std::string& part = file.part;
  const RemovedOnSignal removed_on_signal(part);
  const int fd = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Status(Code::kIoError, "can't make " + part + ": " + std::strerror(errno));
  Status status = WriteTo(fd, engine, header, report);
  if (status.ok() && fsync(fd) != 0) {
    status = Status(Code::kIoError, "can't sync " + part + ": " + std::strerror(errno));
  }
  close(fd);
  if (status.ok() && std::rename(part.c_str(), file.path.c_str()) != 0) {
    status = Status(Code::kIoError, "can't rename to " + out_ + ": " + std::strerror(errno));
  }
  if (!status.ok()) {
    unlink(part.c_str());
    return status;
  }
  const size_t slash = file.path.rfind('/');
  return store::SyncDirectory(slash == std::string::npos ? "." : file.path.substr(0, slash + 1));
}

Status ExportCommand::WriteTo(int fd, store::Engine* engine, const ExportHeader& header,
                              Report* report) {
  Sink sink(fd);
  std::unique_ptr<Form> form;
  if (form_ == "etcdctl") {
    form = std::make_unique<EtcdctlForm>();
  } else {
    form = std::make_unique<JsonLinesForm>();
  }
  sink.Write(form->Begin(header));
  Progress progress(report, "writing", "keys");
  ExportedKey key;
  RAFTKV_RETURN_IF_ERROR(ForEachKey(
      engine, prefix_, header.revision,
      [&](const KeyState& state) {
        key.key = state.key;
        key.value = state.record.value;
        key.create_revision = state.record.create_revision;
        key.mod_revision = state.mod.main;
        key.version = state.record.version;
        key.lease = state.record.lease;
        sink.Write(form->Key(key));
        ++end_.keys;
        progress.Add();
      },
      [&](const Status& damage) {
        end_.complete = false;
        damage_.push_back(damage.message());
      }));
  sink.Write(form->End(end_, sink.Digest()));
  if (!sink.Flush()) {
    return Status(Code::kIoError,
                  std::string("the keys could not be written: ") + std::strerror(errno));
  }
  return Status::Ok();
}

}  // namespace

std::unique_ptr<Command> MakeExportCommand(CLI::App* app) {
  return std::make_unique<ExportCommand>(app);
}

}  // namespace raftkv::tools::dump
