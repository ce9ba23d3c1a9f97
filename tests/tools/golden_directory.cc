#include "tools/golden_directory.h"

#include <filesystem>
#include <fstream>

#include "common/check.h"
#include "common/identity.h"
#include "common/membership_codec.h"
#include "store/snapshot_sink.h"
#include "store/snapshot_source.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

const NodeId kLearner(0xb2);
const NodeId kRemoved(0xb9);

NodeId Self() { return DeriveNodeId(kGoldenToken, kGoldenName); }

store::NodeIdentity Identity() {
  store::NodeIdentity identity;
  identity.cluster = DeriveClusterId(kGoldenToken, {kGoldenName});
  identity.node = Self();
  identity.node_name = kGoldenName;
  return identity;
}

Membership Alone() {
  Membership membership;
  membership.voters = {Self()};
  membership.info[Self()].peer_urls = {"http://127.0.0.1:2380"};
  return membership;
}

// With a learner that is to vote, and one that has left.
Membership WithLearner() {
  Membership membership = Alone();
  membership.learners = {kLearner};
  membership.info[kLearner] = {{"http://127.0.0.2:2380"}, /*promote=*/true};
  membership.removed = {kRemoved};
  return membership;
}

// On the way to a second voter.
Membership Joint() {
  Membership membership = WithLearner();
  membership.outgoing = {Self()};
  return membership;
}

Membership LearnerRemoved() {
  Membership membership = Alone();
  membership.removed = {kLearner, kRemoved};
  return membership;
}

Entry ConfigOf(uint64_t index, uint64_t term, const Membership& membership) {
  return {Index(index), Term(term), EntryKind::kConfig,
          std::make_shared<const std::string>(EncodeMembership(membership))};
}

// Tables of the state after `entries`, as a snapshot from a leader comes.
std::vector<std::string> SnapshotTables(const std::vector<Entry>& entries,
                                        const std::string& scratch) {
  Node leader(scratch + "/leader", Identity(), Alone());
  leader.Apply(entries);
  const std::string checkpoint = scratch + "/checkpoint";
  RAFTKV_CHECK(leader.engine()->MakeCheckpoint(checkpoint).ok(), "checkpoint");
  store::EngineOptions options;
  options.path = checkpoint;
  const auto source =
      store::SnapshotSource::Open(store::Engine::OpenReadOnly(options).value(), Alone(), 1).value();
  const std::string tables = scratch + "/tables";
  fs::create_directory(tables);
  store::SnapshotSink sink(tables, std::nullopt);
  for (std::string chunk; source->Next(&chunk).value();) {
    RAFTKV_CHECK(sink.Add(chunk).ok(), "chunk");
  }
  return sink.Finish().value();
}

std::vector<std::string> Copies(const std::vector<std::string>& tables) {
  std::vector<std::string> copies;
  for (const std::string& table : tables) {
    copies.push_back(table + ".copy");
    fs::copy_file(table, copies.back());
  }
  return copies;
}

}  // namespace

void MakeGoldenDirectory(const std::string& path, const std::string& scratch) {
  const std::vector<Entry> snapshot = {Noop(1, 1),
                                       ConfigOf(2, 1, WithLearner()),
                                       Member(3, 1),
                                       Put(4, 1, "a", "1", {"client-1", 1}),
                                       Put(5, 1, std::string("b\0\xff", 3), "two\nlines"),
                                       Put(6, 1, "c/x", "to be deleted"),
                                       Noop(7, 2),
                                       Put(8, 2, "a", "2"),
                                       Alarm(9, 2)};
  const std::vector<std::string> tables = SnapshotTables(snapshot, scratch);
  const std::vector<std::string> copies = Copies(tables);

  Node node(path, Identity(), Alone());
  const std::vector<Entry> first(snapshot.begin(), snapshot.begin() + 3);
  node.Append(first, {Term(1), Self(), Index(3)});
  node.Apply(first);

  raft::AppendTask install;
  install.install = raft::SnapshotMeta{
      {Index(9), Term(2)}, WithLearner(), node.engine()->StageKv(tables).value()};
  install.hard_state = HardState{Term(2), NodeId(), Index(9)};
  node.Append(install);
  node.kv()->SwitchTo(install.install->id);

  const std::vector<Entry> flushed = {Txn(10, 2), Delete(11, 2, "c/", "c0"), Compact(12, 2, 5),
                                      Put(13, 2, "s", "once", {"client-2", 1})};
  node.Append(flushed, {Term(2), NodeId(), Index(13)});
  node.Apply(flushed);
  while (node.kv()->CompactStep(100)) {
  }
  node.FlushAll();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(10), Term(2)}, WithLearner()};
  node.Append(cut);

  // Applied, but in the log alone; then entries that were overwritten, and what overwrote them.
  const std::vector<Entry> unflushed = {ConfigOf(14, 2, Joint()),
                                        Put(15, 2, "s", "once", {"client-2", 1})};
  node.Append(unflushed, {Term(2), NodeId(), Index(15)});
  node.Apply(unflushed);
  node.Append({Put(16, 2, "lost", "1"), Put(17, 2, "lost", "2")}, {Term(2), NodeId(), Index(15)});
  raft::AppendTask overwrite;
  overwrite.truncate_from = Index(16);
  overwrite.entries = {Noop(16, 3), ConfigOf(17, 3, LearnerRemoved()), Put(18, 3, "d", "newest")};
  overwrite.hard_state = HardState{Term(3), Self(), Index(17)};
  node.Append(overwrite);

  // A snapshot that was staged, and never installed.
  RAFTKV_CHECK(node.engine()->StageKv(copies).ok(), "staging");
  node.Close();

  std::ofstream(path + "/member") << kGoldenName << "\n";
  // RocksDB's own notes are nobody's data: it opens the database without them.
  for (const auto& file : fs::directory_iterator(path + "/db")) {
    const std::string name = file.path().filename();
    if (name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK") {
      fs::remove(file.path());
    }
  }
}

}  // namespace raftkv::tools::dump
