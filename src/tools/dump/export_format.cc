#include "tools/dump/export_format.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "common/utf8.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

using Json = nlohmann::ordered_json;

void SetBytes(Json* json, const std::string& name, const std::string& bytes) {
  if (IsUtf8(bytes)) {
    (*json)[name] = bytes;
  } else {
    (*json)[name + "_b64"] = Base64(bytes);
  }
}

// Nothing where neither field, or both, or no base64 is there.
std::optional<std::string> GetBytes(const Json& json, const std::string& name) {
  const auto text = json.find(name);
  const auto base64 = json.find(name + "_b64");
  if ((text == json.end()) == (base64 == json.end())) return std::nullopt;
  const Json& field = text != json.end() ? *text : *base64;
  if (!field.is_string()) return std::nullopt;
  const auto& value = field.get_ref<const std::string&>();
  return text != json.end() ? value : FromBase64(value);
}

template <typename Number>
bool GetNumber(const Json& json, const char* name, Number* out) {
  const auto field = json.find(name);
  if (field == json.end() || !field->is_number_integer()) return false;
  *out = field->get<Number>();
  return true;
}

std::string Line(const Json& json) { return json.dump() + "\n"; }

}  // namespace

std::string EncodeExportHeader(const ExportHeader& header) {
  return Line({{"raftkv_export", kExportVersion},
               {"cluster_id", header.cluster_id},
               {"revision", header.revision},
               {"compact_revision", header.compact_revision},
               {"index", header.index}});
}

std::string EncodeExportedKey(const ExportedKey& key) {
  Json json;
  SetBytes(&json, "key", key.key);
  SetBytes(&json, "value", key.value);
  json["create_revision"] = key.create_revision;
  json["mod_revision"] = key.mod_revision;
  json["version"] = key.version;
  if (key.lease != 0) json["lease"] = key.lease;
  return Line(json);
}

std::string EncodeExportEnd(const ExportEnd& end, const std::string& sha256) {
  return Line(
      {{"end", true}, {"keys", end.keys}, {"complete", end.complete}, {"sha256", Hex(sha256)}});
}

StatusOr<std::unique_ptr<ExportReader>> ExportReader::Open(const std::string& path) {
  std::unique_ptr<ExportReader> reader(new ExportReader(path));
  if (!reader->in_.is_open()) {
    return Status(Code::kIoError, "can't open " + path + ": " + std::strerror(errno));
  }
  RAFTKV_RETURN_IF_ERROR(reader->ReadHeader());
  return reader;
}

Status ExportReader::ReadHeader() {
  std::string line;
  ++line_;
  const Json json = std::getline(in_, line) ? Json::parse(line, nullptr, false) : Json();
  int version = 0;
  if (!json.is_object() || !GetNumber(json, "raftkv_export", &version)) {
    return Status(Code::kInvalidArgument,
                  path_ + " does not start as an export does (raftkv-dump export)");
  }
  if (version != kExportVersion) {
    return Status(Code::kFailedPrecondition, path_ + " has format version " +
                                                 std::to_string(version) + ", this program knows " +
                                                 std::to_string(kExportVersion));
  }
  GetNumber(json, "revision", &header_.revision);
  GetNumber(json, "compact_revision", &header_.compact_revision);
  GetNumber(json, "index", &header_.index);
  digest_.Update(line + "\n");
  return Status::Ok();
}

StatusOr<bool> ExportReader::Next(ExportedKey* key) {
  std::string line;
  ++line_;
  if (!std::getline(in_, line)) return Bad("the file ends before its last line: it was cut off");
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Bad("not a JSON object");
  if (json.contains("end")) {
    if (!json.contains("complete") || !json["complete"].is_boolean()) return Bad("a bad end");
    end_.complete = json["complete"];
    if (!GetNumber(json, "keys", &end_.keys) || end_.keys != keys_) {
      return Bad("it says " + std::to_string(end_.keys) + " keys, but " + std::to_string(keys_) +
                 " came");
    }
    if (!json.contains("sha256") || json["sha256"] != Json(Hex(digest_.Digest())))
      return Bad("the SHA-256 of what came before is not this");
    if (in_.peek() != std::ifstream::traits_type::eof()) return Bad("something follows the end");
    return false;
  }
  std::optional<std::string> bytes = GetBytes(json, "key");
  std::optional<std::string> value = GetBytes(json, "value");
  key->lease = 0;
  GetNumber(json, "lease", &key->lease);
  if (!bytes || !value || !GetNumber(json, "create_revision", &key->create_revision) ||
      !GetNumber(json, "mod_revision", &key->mod_revision) ||
      !GetNumber(json, "version", &key->version)) {
    return Bad("not a key with its value");
  }
  if (keys_ > 0 && *bytes <= last_key_) return Bad("the keys are not in order");
  key->key = *std::move(bytes);
  key->value = *std::move(value);
  last_key_ = key->key;
  ++keys_;
  digest_.Update(line);
  digest_.Update("\n");
  return true;
}

Status ExportReader::Bad(const std::string& what) const {
  return Status(Code::kCorruption, path_ + " line " + std::to_string(line_) + ": " + what);
}

}  // namespace raftkv::tools::dump
