// Writes the corpus: one of everything the decoders can read. fuzz_seeds DIRECTORY, which is
// tests/fuzz/corpus for the committed one. Inputs that once showed a bug lie there too, by hand.
#include <filesystem>
#include <fstream>
#include <map>

#include "common/crc32c.h"
#include "common/membership_codec.h"
#include "common/sealed_record.h"
#include "fuzz/fuzz.h"
#include "rpc.pb.h"
#include "server/peer_codec.h"
#include "store/command.h"
#include "store/identity_codec.h"
#include "store/mvcc.h"
#include "store/session_limits.h"
#include "store/sha256.h"
#include "store/snapshot_format.h"
#include "store/wal_format.h"
#include "tools/dump/export_format.h"
#include "wal/entry_codec.h"

namespace raftkv::fuzz {
namespace {

namespace fs = std::filesystem;

using Seeds = std::map<std::string, std::string>;  // by file name

std::string WithChoice(uint8_t choice, std::string_view bytes) {
  return std::string(1, static_cast<char>(choice)) + std::string(bytes);
}

std::string Pieced(const std::vector<std::string>& pieces) {
  std::string out;
  for (const std::string& piece : pieces) AppendLengthPrefixed(&out, piece);
  return out;
}

std::string_view WithoutSeal(std::string_view record) {
  return record.substr(0, record.size() - 4);
}

Membership SomeMembership() {
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(0xabcdef)};
  membership.outgoing = {NodeId(1)};
  membership.learners = {NodeId(9)};
  membership.removed = {NodeId(4)};
  membership.info[NodeId(1)].peer_urls = {"http://127.0.0.1:2380"};
  membership.info[NodeId(9)].promote = true;
  return membership;
}

Seeds PeerFrames() {
  const LogPosition last{Index(7), Term(3)};
  raft::AppendRequest append;
  append.previous = last;
  append.commit = Index(6);
  append.counted = last;
  append.entries = {
      {Index(8), Term(3), EntryKind::kCommand, std::make_shared<const std::string>("payload")},
      {Index(9), Term(4), EntryKind::kNoop, nullptr}};
  const std::map<std::string, raft::MessageBody> bodies = {
      {"vote_request", raft::VoteRequest{true, false, last}},
      {"vote_response", raft::VoteResponse{false, true}},
      {"append_request", append},
      {"append_response", raft::AppendResponse{true, Index(0), Index(7), last, 33}},
      {"heartbeat", raft::Heartbeat{Index(5), 77, last}},
      {"heartbeat_response", raft::HeartbeatResponse{77, 33}},
      {"timeout_now", raft::TimeoutNow{}},
      {"read_index_request", raft::ReadIndexRequest{5}},
      {"read_index_response", raft::ReadIndexResponse{5, Index(7)}}};
  Seeds seeds;
  for (const auto& [name, body] : bodies) {
    peer::v1::Frame frame;
    server::EncodeMessage({NodeId(1), NodeId(2), Term(4), body}, &frame);
    seeds[name] = frame.SerializeAsString();
  }
  return seeds;
}

Seeds LogRecords() {
  const Entry entry{Index(7), Term(3), EntryKind::kCommand,
                    std::make_shared<const std::string>("payload")};
  const std::string v1_ids("\x02\x01\x02\x00\x00", 5);
  Seeds seeds{{"entry", WithChoice(0, wal::EncodeEntry(entry))},
              {"hard_state", WithChoice(1, wal::EncodeHardState({Term(3), NodeId(2), Index(9)}))},
              {"membership", WithChoice(2, wal::EncodeMembershipRecord(SomeMembership()))},
              {"log_start", WithChoice(3, wal::EncodeLogStart({Index(9), Term(2)}))},
              {"identity",
               WithChoice(4, store::EncodeIdentity(
                                 {.cluster = ClusterId(1), .node = NodeId(2), .node_name = "n1"}))},
              {"kv_family", WithChoice(5, store::EncodeKvFamily(3))},
              {"membership_v1", WithChoice(0x82, "\x01" + v1_ids)}};
  // Those without their seals are given one by the target, also after a mutation.
  for (const char* name : {"entry", "hard_state", "membership", "log_start", "identity"}) {
    std::string open(WithoutSeal(seeds[name]));
    open[0] = static_cast<char>(open[0] | 0x80);
    seeds[std::string(name) + "_open"] = open;
  }
  return seeds;
}

Seeds Memberships() {
  return {{"full", EncodeMembership(SomeMembership())}, {"empty", EncodeMembership({})}};
}

Seeds Commands() {
  etcdserverpb::PutRequest put;
  put.set_key("key");
  put.set_value("value");
  etcdserverpb::TxnRequest txn;
  auto* compare = txn.add_compare();
  compare->set_key("key");
  compare->set_target(etcdserverpb::Compare::VERSION);
  compare->set_version(1);
  *txn.add_success()->mutable_request_put() = put;
  txn.add_failure()->mutable_request_range()->set_key("key");
  *txn.add_failure()->mutable_request_txn()->add_success()->mutable_request_put() = put;
  using store::CommandType;
  return {{"put", store::EncodeCommand(CommandType::kPut, 7, {}, put.SerializeAsString())},
          {"put_in_session",
           store::EncodeCommand(CommandType::kPut, 7, {"client", 300}, put.SerializeAsString())},
          {"txn", store::EncodeCommand(CommandType::kTxn, 8, {}, txn.SerializeAsString())},
          {"compact", store::EncodeCommand(CommandType::kCompact, 9, {}, "\x08\x05")},
          {"session_limits", store::EncodeCommand(CommandType::kSessionLimits, 9, {},
                                                  store::EncodeSessionLimits({300, 60'000}))}};
}

store::AppliedRecord SomeApplied() {
  store::AppliedRecord applied;
  applied.position = {Index(12), Term(3)};
  applied.revision = 5;
  applied.time_ms = 1000;
  return applied;
}

// Keys and records as they lie in kv.
std::map<std::string, std::pair<std::string, std::string>> KvRecords() {
  std::map<std::string, std::pair<std::string, std::string>> kv;
  std::string record;
  const std::string data_key = store::DataKey(std::string("a\0b", 3), {4, 1});
  store::EncodeDataRecord(data_key, 4, {.create_revision = 2, .version = 3, .value = "value"},
                          &record);
  kv["data"] = {data_key, record};
  const std::string revision_key = store::RevisionKey({4, 1});
  store::EncodeRevisionRecord(revision_key, {4, 1}, {.previous = {2, 0}, .user_key = "key"},
                              &record);
  kv["revision"] = {revision_key, record};
  const std::string session_key = store::SessionKey("client");
  kv["session"] = {session_key,
                   store::EncodeSessionRecord(
                       session_key, {3, 1000, Status::Ok(), store::AnswerKind::kPut, "answer"})};
  const std::string time_key = store::SessionTimeKey(1000, "client");
  kv["session_time"] = {time_key, store::EncodeSessionTimeRecord(time_key)};
  const std::string member_key = store::MemberKey(NodeId(2));
  kv["member"] = {member_key, store::EncodeMemberRecord(member_key, "\x12\x02n1")};
  const std::string alarm_key = store::AlarmKey(NodeId(2), 1);
  kv["alarm"] = {alarm_key, store::EncodeAlarmRecord(alarm_key)};
  kv["applied"] = {store::AppliedKey(), store::EncodeAppliedRecord(SomeApplied())};
  kv["config"] = {store::ConfigKey(), store::EncodeConfigRecord(SomeMembership())};
  return kv;
}

Seeds KvRecordSeeds() {
  Seeds seeds;
  store::AppliedRecord applied = SomeApplied();
  applied.session_limits = {300, 60'000};
  seeds["applied_with_limits"] =
      WithChoice(1, Pieced({store::AppliedKey(), store::EncodeAppliedRecord(applied)}));
  for (const auto& [name, kv] : KvRecords()) {
    seeds[name] = WithChoice(name == "config" ? 0 : 1, Pieced({kv.first, kv.second}));
    seeds[name + "_open"] =
        WithChoice(name == "config" ? 0x80 : 0x81, Pieced({kv.first, kv.second}));
  }
  return seeds;
}

Seeds Snapshots() {
  store::SnapshotHeader header;
  header.id = 42;
  header.cluster = ClusterId(1);
  header.applied = SomeApplied();
  header.membership = SomeMembership();
  std::map<std::string, std::string> in_order;
  for (const auto& [name, kv] : KvRecords()) in_order[kv.first] = kv.second;
  std::string records;
  for (const auto& [key, record] : in_order) {
    AppendLengthPrefixed(&records, key);
    AppendLengthPrefixed(&records, record);
  }
  using store::ChunkKind;
  const std::string first =
      store::EncodeChunk(header.id, 0, ChunkKind::kHeader, store::EncodeSnapshotHeader(header));
  const std::string second = store::EncodeChunk(header.id, 1, ChunkKind::kRecords, records);
  store::Sha256 digest;
  digest.Update(first);
  digest.Update(second);
  const store::SnapshotTrailer trailer{2, in_order.size(), digest.Digest()};
  const std::string third =
      store::EncodeChunk(header.id, 2, ChunkKind::kTrailer, store::EncodeSnapshotTrailer(trailer));

  std::string file = "RAFTKVSN";
  for (const std::string& chunk : {first, second, third}) {
    AppendLittleEndian32(&file, static_cast<uint32_t>(chunk.size()));
    file += chunk;
  }
  AppendLittleEndian32(&file, 0);
  file.resize((file.size() + 511) / 512 * 512, '\0');
  store::Sha256 whole;
  whole.Update(file);
  return {{"chunks", WithChoice(0, Pieced({first, second, third}))},
          {"bodies", WithChoice(1, Pieced({store::EncodeSnapshotHeader(header), records,
                                           store::EncodeSnapshotTrailer(trailer)}))},
          {"file", WithChoice(2, file + whole.Digest())}};
}

std::string WalChunk(store::WalChunkType type, std::string_view payload) {
  std::string out;
  const std::string covered = std::string(1, static_cast<char>(type)) + std::string(payload);
  const uint32_t crc = Crc32c(covered);
  AppendLittleEndian32(&out, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  out.push_back(static_cast<char>(payload.size()));
  out.push_back(static_cast<char>(payload.size() >> 8));
  return out + covered;
}

Seeds WalFiles() {
  std::string batch;
  AppendLittleEndian64(&batch, 5);
  AppendLittleEndian32(&batch, 1);
  batch += "\x01\x03key\x05value";
  using store::WalChunkType;
  const std::string full = WalChunk(store::WalChunkType::kFull, batch);
  const std::string split = WalChunk(store::WalChunkType::kFirst, batch.substr(0, 14)) +
                            WalChunk(store::WalChunkType::kMiddle, batch.substr(14, 2)) +
                            WalChunk(store::WalChunkType::kLast, batch.substr(16));
  const std::string recyclable =
      WalChunk(store::WalChunkType::kRecyclableFull, std::string("\x0c\0\0\0", 4) + batch);
  std::string damaged = full + full;
  damaged[10] = static_cast<char>(damaged[10] ^ 1);
  return {{"whole", WithChoice(0, full + split + full)},
          {"recyclable", WithChoice(1, recyclable + recyclable)},
          {"torn", WithChoice(0, (full + split).substr(0, full.size() + 30))},
          {"damaged", WithChoice(0, damaged)},
          {"open", WithChoice(1, full + split)},
          {"records", WithChoice(4, full + split)},
          {"records_open", WithChoice(5, full + split)},
          {"zeros", WithChoice(0, full + std::string(64, '\0'))},
          {"manifest", WithChoice(2, full + full)},
          {"manifest_damaged", WithChoice(2, damaged)},
          {"manifest_open", WithChoice(3, split + full)}};
}

Seeds Fences() {
  const auto numbers = [](std::initializer_list<uint64_t> list) {
    std::string out;
    for (const uint64_t number : list) AppendLittleEndian64(&out, number);
    return out;
  };
  // Cluster, node, sequence, run, term, vote, and the bounds of what was acknowledged.
  const std::string version("\x01\0\0\0", 4);
  const std::string older = version + numbers({1, 2, 6, 500, 3, 2, 3, 9, 3, 65545});
  const std::string newer = version + numbers({1, 2, 7, 500, 4, 1, 3, 9, 4, 65550});
  const std::string note = numbers({7, 4, 20});
  const auto page = [](std::string_view key, std::string body) {
    Seal(key, &body);
    body.resize(4096);
    return body;
  };
  return {{"file",
           WithChoice(0, page("fence", older) + page("fence", newer) + page("fence note", note))},
          {"pieces", WithChoice(1, Pieced({older, newer, note}))},
          {"note_of_older", WithChoice(3, Pieced({older, newer, numbers({6, 3, 11})}))},
          {"note_of_damaged", WithChoice(0, page("fence", older) + std::string(4096, '\0') +
                                                page("fence note", note))},
          {"another_node", WithChoice(1, Pieced({version + numbers({1, 3, 6, 500}), "", ""}))}};
}

Seeds ExportFiles() {
  const std::string header = tools::dump::EncodeExportHeader({"c1", 8, 2, 9});
  const std::string keys = tools::dump::EncodeExportedKey({"a", "1", 3, 3, 1, 0}) +
                           tools::dump::EncodeExportedKey({"b\xff", "2", 4, 5, 2, 7});
  store::Sha256 digest;
  digest.Update(header + keys);
  const std::string end = tools::dump::EncodeExportEnd({2, true}, digest.Digest());
  return {{"whole", WithChoice(0, header + keys + end)},
          {"open", WithChoice(1, header + keys)},
          {"empty", WithChoice(1, header)},
          {"changed", WithChoice(0, header + keys + keys + end)}};
}

Seeds RestTargets() {
  return {{"key", "/v1/kv/a%2Fb%00?revision=3&consistency=serializable"},
          {"list", "/v1/kv?prefix=a%25&limit=10&keys_only=true&after=%ff"},
          {"malformed", "/v1/kv/%zz?=&&a=b=c%"}};
}

Seeds ConfigFiles() {
  return {{"full",
           "# a node\nname = \"n1\"\ndata-dir = '/tmp/n1'\nlisten-client-urls = "
           "\"http://127.0.0.1:2379\"\ninitial-cluster = "
           "\"n1=http://127.0.0.1:2380,n2=http://[::1]:2381\"\nelection-timeout = 1000\n"
           "heartbeat-interval = 100\nlog-level = \"warn\"\n"},
          {"wrong", "election-timeout = -1\nnot-a-flag = [1, 2\n"},
          {"section", "[default]\nname = n2\nmax-learners = 0x5\n\"quoted\" = 1\n"}};
}

Seeds Histories() {
  return {
      {"all_kinds",
       R"({"client":"a","op":"put","key":"k","value":"1","invoke":1,"return":5,"outcome":"ok","revision":2}
{"client":"b","op":"get","key":"k","result":"1","mod_revision":2,"invoke":6,"return":9,"outcome":"ok","revision":2}
{"client":"b","op":"cas","key":"k","expected":"1","value":{"hex":"00ff"},"succeeded":true,"invoke":10,"return":12,"outcome":"ok","revision":3}
{"client":"c","op":"delete","key":"k","invoke":11,"outcome":"unknown"}
{"client":"a","op":"txn","compare":[{"key":"k","value":null}],"then":[{"op":"put","key":"l","value":"2"},{"op":"get","key":"k","result":null}],"else":[{"op":"delete","key":"k"}],"succeeded":true,"invoke":20,"return":22,"outcome":"ok","revision":5}
{"client":"a","op":"range","key":"a","range_end":"z","kvs":[{"key":"l","value":"2","mod_revision":5}],"invoke":30,"return":33,"outcome":"ok","revision":5}
{"client":"b","op":"put","key":"k","value":"3","invoke":31,"outcome":"fail"}
)"},
      {"illegal",
       R"({"client":"a","op":"put","key":"k","value":"1","invoke":1,"return":2,"outcome":"ok"}
{"client":"a","op":"put","key":"k","value":"2","invoke":3,"return":4,"outcome":"ok"}
{"client":"b","op":"get","key":"k","result":"1","invoke":5,"return":6,"outcome":"ok"}
)"},
      {"impossible",
       R"({"client":"a","op":"put","key":"k","value":"1","invoke":1,"return":2,"outcome":"ok"}
{"client":"b","op":"range","key":"j","range_end":{"hex":"00"},"kvs":[{"key":"k","value":"1"},{"key":"k","value":"1"}],"invoke":3,"return":4,"outcome":"ok"}
{"client":"b","op":"range","key":"k","range_end":"","kvs":[{"key":"l","value":"1"}],"invoke":5,"return":6,"outcome":"ok"}
{"client":"a","op":"txn","compare":[],"then":[],"else":[{"op":"get","key":"k","result":"1"}],"succeeded":false,"invoke":7,"return":8,"outcome":"ok"}
)"},
      {"malformed", R"({"client":"a","op":"put","key":{"hex":"0"},"invoke":-1})"}};
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds DIRECTORY\n");
    return 2;
  }
  const std::map<std::string, Seeds> corpus = {
      {"command", Commands()},        {"config_file", ConfigFiles()},
      {"export_file", ExportFiles()}, {"fence", Fences()},
      {"history", Histories()},       {"kv_record", KvRecordSeeds()},
      {"log_record", LogRecords()},   {"membership", Memberships()},
      {"peer_frame", PeerFrames()},   {"rest_target", RestTargets()},
      {"snapshot", Snapshots()},      {"wal_file", WalFiles()}};
  for (const auto& [target, seeds] : corpus) {
    const fs::path directory = fs::path(argv[1]) / target;
    fs::create_directories(directory);
    for (const auto& [name, bytes] : seeds) {
      std::ofstream file(directory / name, std::ios::binary | std::ios::trunc);
      file << bytes;
      file.close();
      Require(!file.fail(), "a seed can't be written");
    }
  }
  return 0;
}

}  // namespace
}  // namespace raftkv::fuzz

int main(int argc, char** argv) { return raftkv::fuzz::Main(argc, argv); }
