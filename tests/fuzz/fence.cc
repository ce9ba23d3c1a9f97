// The fence beside the database (src/wal/fence.h). The first byte chooses: the file as it is; or
// its two records and its note, which are given their seals and places.
#include "wal/fence.h"

#include "common/sealed_record.h"
#include "fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kRecordBodyBytes = 4 + 10 * 8;
constexpr size_t kNoteBodyBytes = 3 * 8;
// Numbers that only grow, and would take longer than the universe has to come to their end.
constexpr size_t kSequenceOffset = 4 + 2 * 8;
constexpr size_t kSequenceTopByte = kSequenceOffset + 7;
constexpr size_t kRunTopByte = 4 + 3 * 8 + 7;

std::string Page(std::string_view key, size_t body_bytes, std::string_view piece) {
  std::string page(piece);
  page.resize(body_bytes);
  if (body_bytes == kRecordBodyBytes) page[kSequenceTopByte] = page[kRunTopByte] = 0;
  Seal(key, &page);
  page.resize(kPageBytes);
  return page;
}

// The note goes with one of the records, or with one that is not there any more.
std::string Dress(const std::vector<std::string_view>& pieces, bool of_first, bool of_none) {
  const auto piece = [&](size_t i) { return i < pieces.size() ? pieces[i] : std::string_view(); };
  const std::string first = Page("fence", kRecordBodyBytes, piece(0));
  const std::string second = Page("fence", kRecordBodyBytes, piece(1));
  std::string note(piece(2));
  note.resize(kNoteBodyBytes);
  if (!of_none) note.replace(0, 8, of_first ? first : second, kSequenceOffset, 8);
  note[7] = 0;  // as a sequence's top byte
  return first + second + Page("fence note", kNoteBodyBytes, note);
}

}  // namespace

FUZZ_TARGET(fence) {
  const uint8_t choice = TakeByte(&input);
  const MemoryFile file((choice & 1) != 0
                            ? Dress(Pieces(input), (choice & 2) != 0, (choice & 4) != 0)
                            : std::string(input));
  const auto open = [&] { return wal::Fence::Open(file.path(), ClusterId(1), NodeId(2), 1000); };
  wal::FenceRecord found;
  uint64_t run = 0;
  {
    const auto fence = open();
    if (!fence.ok()) return;
    found = (*fence)->found();
    run = (*fence)->run();
    Require(run > found.run, "a run has the number of one before it");
  }
  const auto again = open();
  Require(again.ok(), "a fence that was read once can't be read again");
  Require((*again)->found().run == run, "a run was not noted");
  found.run = run;
  // Nothing is missing of nothing.
  raft::AckBounds& bounds = found.acknowledged;
  bounds.missing = bounds.missing && raft::IsShort({}, bounds);
  Require((*again)->found() == found, "a promise changed when the node started");
}

}  // namespace raftkv::fuzz
