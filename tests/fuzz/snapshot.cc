// A snapshot's chunks as a node receives them (src/store/snapshot_format.h, snapshot_check.h), and
// a backup file. The first byte chooses: chunks as they are; bodies that are given numbers and
// checksums, and records their seals; or a file.
#include "fuzz/fuzz.h"
#include "fuzz/kv_seal.h"
#include "store/mvcc.h"
#include "store/snapshot_check.h"
#include "store/snapshot_file.h"

namespace raftkv::fuzz {
namespace {

void Take(const std::vector<std::string>& chunks) {
  store::SnapshotCheck check(std::nullopt);
  std::string last_key;
  for (const std::string& chunk : chunks) {
    const Status added = check.Add(chunk, [&](std::string_view key, std::string_view record) {
      Require(key > last_key, "records out of order were let through");
      Require(store::CheckRecord(key, record).ok(), "a damaged record was let through");
      last_key = key;
      return Status::Ok();
    });
    if (!added.ok()) break;
  }
  if (check.Finish().ok()) Require(check.has_trailer(), "a snapshot without an end was taken");
}

// A header's id, that all chunks are made for.
uint64_t IdOf(std::string_view header_body) {
  const std::string chunk = store::EncodeChunk(0, 0, store::ChunkKind::kHeader, header_body);
  const StatusOr<uint64_t> id = store::PeekSnapshotId(chunk);
  return id.ok() ? *id : 0;
}

std::string SealRecords(std::string_view body) {
  std::string out;
  const std::vector<std::string_view> pieces = Pieces(body);
  for (size_t i = 0; i + 1 < pieces.size(); i += 2) {
    std::string record(pieces[i + 1]);
    SealKvRecord(pieces[i], &record);
    AppendLengthPrefixed(&out, pieces[i]);
    AppendLengthPrefixed(&out, record);
  }
  return out;
}

std::vector<std::string> Dress(const std::vector<std::string_view>& bodies) {
  std::vector<std::string> chunks;
  const uint64_t id = bodies.empty() ? 0 : IdOf(bodies[0]);
  for (std::string_view body : bodies) {
    const size_t number = chunks.size();
    const bool last = number + 1 == bodies.size();
    const auto kind = number == 0 ? store::ChunkKind::kHeader
                      : last      ? store::ChunkKind::kTrailer
                                  : store::ChunkKind::kRecords;
    chunks.push_back(store::EncodeChunk(
        id, number, kind,
        kind == store::ChunkKind::kRecords ? SealRecords(body) : std::string(body)));
  }
  return chunks;
}

}  // namespace

FUZZ_TARGET(snapshot) {
  const uint8_t choice = TakeByte(&input);
  if (choice % 3 == 2) {
    const MemoryFile file(input);
    (void)store::ReadSnapshotFile(file.path(), nullptr);
    return;
  }
  const std::vector<std::string_view> pieces = Pieces(input);
  if (choice % 3 == 1) return Take(Dress(pieces));
  Take({pieces.begin(), pieces.end()});
}

}  // namespace raftkv::fuzz
