// What raftkv-dump import reads (src/tools/dump/export_format.h). The first byte chooses whether
// the last line, with its checksum, is put at the end: no fuzzer guesses it.
#include <algorithm>

#include "fuzz/fuzz.h"
#include "store/sha256.h"
#include "tools/dump/export_format.h"

namespace raftkv::fuzz {
namespace {

using tools::dump::ExportedKey;

bool Same(const ExportedKey& a, const ExportedKey& b) {
  return a.key == b.key && a.value == b.value && a.create_revision == b.create_revision &&
         a.mod_revision == b.mod_revision && a.version == b.version && a.lease == b.lease;
}

std::string Ended(const std::string& lines, uint64_t keys) {
  store::Sha256 digest;
  digest.Update(lines);
  return lines + tools::dump::EncodeExportEnd({keys, true}, digest.Digest());
}

// False when the file is no good.
bool Read(const std::string& bytes, tools::dump::ExportHeader* header,
          std::vector<ExportedKey>* keys) {
  const MemoryFile file(bytes);
  const auto reader = tools::dump::ExportReader::Open(file.path());
  if (!reader.ok()) return false;
  *header = (*reader)->header();
  for (;;) {
    ExportedKey key;
    const StatusOr<bool> more = (*reader)->Next(&key);
    if (!more.ok()) return false;
    if (!*more) return true;
    Require(keys->empty() || key.key > keys->back().key, "keys out of order were let through");
    keys->push_back(std::move(key));
  }
}

}  // namespace

FUZZ_TARGET(export_file) {
  const bool end = (TakeByte(&input) & 1) != 0;
  std::string bytes(input);
  if (end) {
    if (!bytes.ends_with('\n')) bytes += '\n';
    bytes = Ended(bytes, std::count(bytes.begin(), bytes.end(), '\n') - 1);
  }
  tools::dump::ExportHeader header;
  std::vector<ExportedKey> keys;
  if (!Read(bytes, &header, &keys)) return;
  std::string lines = tools::dump::EncodeExportHeader(header);
  for (const ExportedKey& key : keys) lines += tools::dump::EncodeExportedKey(key);
  std::vector<ExportedKey> again;
  Require(Read(Ended(lines, keys.size()), &header, &again), "an export can't be read back");
  Require(std::equal(keys.begin(), keys.end(), again.begin(), again.end(), Same),
          "a key changed when it was exported");
}

}  // namespace raftkv::fuzz
