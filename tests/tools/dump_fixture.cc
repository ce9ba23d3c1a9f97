#include "tools/dump_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/membership_codec.h"
#include "rpc.pb.h"
#include "wal/fence.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

void CheckOk(const Status& status) { RAFTKV_CHECK(status.ok(), status.ToString()); }

}  // namespace

TempDir::TempDir() {
  std::string path = testing::TempDir() + "raftkv-dump-test.XXXXXX";
  RAFTKV_CHECK(mkdtemp(path.data()) != nullptr, "no temporary directory");
  path_ = path;
}

TempDir::~TempDir() { fs::remove_all(path_); }

Entry CommandEntry(uint64_t index, uint64_t term, store::CommandType type,
                   const google::protobuf::MessageLite& request, const store::SessionRef& session) {
  return RawCommandEntry(index, term, type, request.SerializeAsString(), session);
}

Entry RawCommandEntry(uint64_t index, uint64_t term, store::CommandType type, std::string_view body,
                      const store::SessionRef& session) {
  std::string payload = store::EncodeCommand(type, 0x1000 + index, session, body);
  store::StampCommandTime(&payload, kTimeMs + index);
  return {Index(index), Term(term), EntryKind::kCommand,
          std::make_shared<const std::string>(std::move(payload))};
}

Entry Noop(uint64_t index, uint64_t term) {
  return {Index(index), Term(term), EntryKind::kNoop, nullptr};
}

Entry Put(uint64_t index, uint64_t term, const std::string& key, const std::string& value,
          const store::SessionRef& session) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  return CommandEntry(index, term, store::CommandType::kPut, request, session);
}

Entry Delete(uint64_t index, uint64_t term, const std::string& key, const std::string& range_end) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  return CommandEntry(index, term, store::CommandType::kDeleteRange, request);
}

Entry Txn(uint64_t index, uint64_t term) {
  etcdserverpb::TxnRequest request;
  auto* compare = request.add_compare();
  compare->set_key("a");
  compare->set_target(etcdserverpb::Compare::VERSION);
  compare->set_result(etcdserverpb::Compare::GREATER);
  compare->set_version(0);
  auto* put = request.add_success()->mutable_request_put();
  put->set_key("txn");
  put->set_value("yes");
  request.add_success()->mutable_request_range()->set_key("a");
  request.add_failure()->mutable_request_delete_range()->set_key("a");
  return CommandEntry(index, term, store::CommandType::kTxn, request);
}

Entry Member(uint64_t index, uint64_t term) {
  etcdserverpb::Member member;
  member.set_id(0xa1);
  member.set_name("n1");
  member.add_clienturls("http://127.0.0.1:2379");
  return CommandEntry(index, term, store::CommandType::kMemberAttributes, member);
}

Entry Alarm(uint64_t index, uint64_t term) {
  etcdserverpb::AlarmRequest request;
  request.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  request.set_memberid(0xa2);
  request.set_alarm(etcdserverpb::NOSPACE);
  return CommandEntry(index, term, store::CommandType::kAlarm, request);
}

Entry SessionLimits(uint64_t index, uint64_t term) {
  return RawCommandEntry(index, term, store::CommandType::kSessionLimits,
                         store::EncodeSessionLimits({.sessions_max = 50, .ttl_ms = 60'000}),
                         /*session=*/{});
}

Entry Config(uint64_t index, uint64_t term) {
  Membership membership;
  membership.voters = {NodeId(0xa1), NodeId(0xa3)};
  membership.learners = {NodeId(0xa4)};
  membership.info[NodeId(0xa1)].peer_urls = {"http://127.0.0.1:2380"};
  membership.info[NodeId(0xa4)] = {{"http://127.0.0.4:2380"}, /*promote=*/true};
  membership.removed = {NodeId(0xa2)};
  return Config(index, term, membership);
}

Entry Config(uint64_t index, uint64_t term, const Membership& membership) {
  return {Index(index), Term(term), EntryKind::kConfig,
          std::make_shared<const std::string>(EncodeMembership(membership))};
}

Entry Compact(uint64_t index, uint64_t term, int64_t revision) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  return CommandEntry(index, term, store::CommandType::kCompact, request);
}

namespace {

store::NodeIdentity IdentityOfA1() {
  store::NodeIdentity identity;
  identity.cluster = ClusterId(0xc1);
  identity.node = NodeId(0xa1);
  identity.node_name = "n1";
  return identity;
}

Membership ThreeVoters() {
  Membership membership;
  membership.voters = {NodeId(0xa1), NodeId(0xa2), NodeId(0xa3)};
  return membership;
}

}  // namespace

Node::Node(std::string path) : Node(std::move(path), IdentityOfA1(), ThreeVoters()) {}

Node::Node(std::string path, const store::NodeIdentity& identity, const Membership& membership)
    : path_(std::move(path)) {
  fs::create_directory(path_);
  CheckOk(
      store::Engine::Bootstrap(Options(), identity, wal::LogStore::BootstrapRecords(membership)));
  Open();
}

void Node::Close() {
  kv_.reset();
  log_.reset();
  engine_.reset();
}

void Node::Open() {
  engine_ = store::Engine::Open(Options()).value();
  log_ = std::make_unique<wal::LogStore>(engine_.get());
  CheckOk(log_->Recover().status());
  kv_ = store::KvStore::Open(engine_.get()).value();
}

void Node::Append(std::vector<Entry> entries, const HardState& hard_state) {
  raft::AppendTask task;
  task.entries = std::move(entries);
  task.hard_state = hard_state;
  Append(task);
}

void Node::Append(const raft::AppendTask& task) {
  rocksdb::WriteBatch batch;
  CheckOk(log_->AddToBatch(task, &batch));
  Write(&batch);
}

void Node::Apply(const std::vector<Entry>& entries) {
  std::vector<store::ApplyResult> results;
  kv_->Apply(entries, &results);
}

void Node::FlushKv() { CheckOk(engine_->FlushKv()); }

void Node::FlushAll() { CheckOk(engine_->FlushAll()); }

void Node::DeleteLeftovers() {
  while (log_->HasLeftovers()) CheckOk(log_->DeleteLeftovers());
}

void Node::Overwrite(rocksdb::ColumnFamilyHandle* family, const std::string& key,
                     const std::function<void(std::string*)>& change) {
  std::string record;
  RAFTKV_CHECK(engine_->db()->Get(rocksdb::ReadOptions(), family, key, &record).ok(), key);
  change(&record);
  rocksdb::WriteBatch batch;
  RAFTKV_CHECK(batch.Put(family, key, record).ok(), key);
  Write(&batch);
}

void Node::Remove(rocksdb::ColumnFamilyHandle* family, const std::string& key) {
  rocksdb::WriteBatch batch;
  RAFTKV_CHECK(batch.Delete(family, key).ok(), key);
  Write(&batch);
}

void Node::Add(rocksdb::ColumnFamilyHandle* family, const std::string& key,
               const std::string& record) {
  rocksdb::WriteBatch batch;
  RAFTKV_CHECK(batch.Put(family, key, record).ok(), key);
  Write(&batch);
}

store::EngineOptions Node::Options() const {
  store::EngineOptions options;
  options.path = path_ + "/db";
  return options;
}

void Node::Write(rocksdb::WriteBatch* batch) {
  rocksdb::WriteOptions options;
  options.sync = true;
  const rocksdb::Status status = engine_->db()->Write(options, batch);
  RAFTKV_CHECK(status.ok(), status.ToString());
}

void MakeFence(const std::string& path, LogPosition last, Term term, NodeId vote) {
  const store::NodeIdentity identity = IdentityOfA1();
  const auto fence =
      wal::Fence::Open(path + "/" + wal::kFenceFile, identity.cluster, identity.node, kTimeMs);
  CheckOk(fence.status());
  CheckOk((*fence)->Cover(term, vote, last, {}));
  CheckOk((*fence)->Note(last));
}

std::map<std::string, std::string> Snapshot(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& file : fs::recursive_directory_iterator(path)) {
    struct stat info = {};
    RAFTKV_CHECK(stat(file.path().c_str(), &info) == 0, file.path());
    std::string state = std::to_string(info.st_mtim.tv_sec) + "." +
                        std::to_string(info.st_mtim.tv_nsec) + " " + std::to_string(info.st_size);
    if (file.is_regular_file()) state += " " + std::to_string(Crc32c(ReadFile(file.path())));
    files[file.path()] = state;
  }
  return files;
}

void FlipByte(const std::string& file, off_t offset, char bits) {
  const int fd = open(file.c_str(), O_RDWR);
  char byte = 0;
  RAFTKV_CHECK(pread(fd, &byte, 1, offset) == 1, file);
  byte = static_cast<char>(byte ^ bits);
  RAFTKV_CHECK(pwrite(fd, &byte, 1, offset) == 1, file);
  close(fd);
}

std::vector<nlohmann::json> Lines(const std::string& text) {
  std::vector<nlohmann::json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

std::vector<Entry> DumpTest::Entries() {
  return {Noop(1, 1),
          Member(2, 1),
          Put(3, 1, "a", "1"),
          Put(4, 1, std::string("b\0\xff", 3), "two\nlines", {"0123456789abcdef", 1}),
          Put(5, 1, "c/x", std::string(30, 'v')),
          Noop(6, 2),
          Put(7, 2, "a", "2"),
          Txn(8, 2),
          Delete(9, 2, "c/", "c0")};
}

void DumpTest::MakeNode() {
  node_ = std::make_unique<Node>(directory_);
  const std::vector<Entry> entries = Entries();
  node_->Append({entries.begin(), entries.begin() + 5}, {Term(1), NodeId(0xa1), Index(5)});
  node_->Append({entries.begin() + 5, entries.end()}, {Term(2), NodeId(0xa2), Index(8)});
  node_->Apply({entries.begin(), entries.begin() + 5});
  node_->FlushKv();
  node_->Apply({entries.begin() + 5, entries.end()});
}

ProgramResult DumpTest::Dump(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin() + 1, directory_);
  return RunProgram(RAFTKV_DUMP, arguments, temp_.path());
}

void DumpTest::ExpectGolden(const std::string& name, std::string text) {
  text = std::regex_replace(text, std::regex(temp_.path()), "TEMP");
  const std::string path = std::string(RAFTKV_SOURCE_DIR) + "/tests/testdata/dump/" + name;
  if (std::getenv("RAFTKV_REWRITE") != nullptr) std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(text, ReadFile(path)) << "RAFTKV_REWRITE=1 writes " << path;
}

std::string DumpTest::NewestWal() const {
  std::string newest;
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (file.path().extension() != ".log" || file.file_size() == 0) continue;
    newest = std::max(newest, file.path().string());
  }
  RAFTKV_CHECK(!newest.empty(), "no WAL file holds anything");
  return newest;
}

std::string DumpTest::OnlyFile(const std::string& prefix) {
  std::string found;
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (!file.path().filename().string().starts_with(prefix)) continue;
    EXPECT_EQ(found, "") << "more than one file called " << prefix;
    found = file.path();
  }
  return found;
}

}  // namespace raftkv::tools::dump
