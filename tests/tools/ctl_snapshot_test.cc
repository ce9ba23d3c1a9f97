// raftkvctl snapshot: save from a server faked in this process, status and restore of real files.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/write_batch.h>

#include "common/identity.h"
#include "rpc.grpc.pb.h"
#include "store/command.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "store/restore.h"
#include "store/snapshot_file.h"
#include "store/snapshot_source.h"
#include "tools/ctl/snapshot_commands.h"
#include "tools/fake_service.h"
#include "wal/log_store.h"

namespace raftkv::tools::ctl {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void Check(const Status& status) { RAFTKV_CHECK(status.ok(), status.ToString()); }

Entry Put(uint64_t index, const std::string& key) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value("v");
  std::string payload = store::EncodeCommand(store::CommandType::kPut, 0x1000 + index, {},
                                             request.SerializeAsString());
  store::StampCommandTime(&payload, 1'700'000'000'000 + index);
  return {Index(index), Term(1), EntryKind::kCommand,
          std::make_shared<const std::string>(std::move(payload))};
}

// The bytes of a snapshot of a store with the keys k1 to k3, at revision 4.
std::string SnapshotBytes(const std::string& directory) {
  store::EngineOptions options;
  options.path = directory + "/db";
  store::NodeIdentity identity;
  identity.cluster = DeriveClusterId("raftkv-cluster", {"n1"});
  identity.node = DeriveNodeId("raftkv-cluster", "n1");
  identity.node_name = "n1";
  Membership membership;
  membership.voters = {identity.node};
  Check(store::Engine::Bootstrap(options, identity, wal::LogStore::BootstrapRecords(membership)));
  const auto engine = store::Engine::Open(options).value();
  {
    const auto kv = store::KvStore::Open(engine.get()).value();
    std::vector<store::ApplyResult> results;
    const std::vector<Entry> entries = {Put(1, "k1"), Put(2, "k2"), Put(3, "k3")};
    kv->Apply(entries, &results);
  }
  Check(engine->MakeCheckpoint(directory + "/checkpoint"));
  store::EngineOptions copy;
  copy.path = directory + "/checkpoint";
  copy.wal_recovery = store::WalRecovery::kTornTail;  // as the server does: the log may be cut off
  auto source =
      store::SnapshotSource::Open(store::Engine::OpenReadOnly(copy).value(), membership, 77)
          .value();
  std::string bytes;
  Check(store::WriteSnapshotFile(source.get(), [&](std::string_view piece) {
    bytes += piece;
    return Status::Ok();
  }));
  return bytes;
}

// Streams what it was given, in pieces.
class FakeNode : public etcdserverpb::Maintenance::Service {
 public:
  explicit FakeNode(std::string bytes) : bytes_(std::move(bytes)) {}
  ~FakeNode() override { server_.Stop(); }

  grpc::Status Snapshot(grpc::ServerContext* context, const etcdserverpb::SnapshotRequest*,
                        grpc::ServerWriter<etcdserverpb::SnapshotResponse>* writer) override {
    for (size_t at = 0; at < bytes_.size(); at += 100) {
      etcdserverpb::SnapshotResponse part;
      part.set_blob(bytes_.substr(at, 100));
      writer->Write(part);
    }
    while (stalls && !context->IsCancelled()) usleep(1000);
    return status;
  }

  const std::string& endpoint() const { return server_.endpoint(); }
  grpc::Status status;
  bool stalls = false;  // in the end, until the client is gone

 private:
  const std::string bytes_;
  FakeServer server_{this};
};

class CtlSnapshotTest : public testing::Test {
 protected:
  CtlSnapshotTest()
      : directory_(testing::TempDir() + "ctl_snapshot_" +
                   testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(directory_);
    fs::create_directories(directory_ + "/source");
    bytes_ = SnapshotBytes(directory_ + "/source");
    path_ = directory_ + "/backup.db";
  }
  ~CtlSnapshotTest() override { fs::remove_all(directory_); }

  int Save(const std::vector<std::string>& endpoints) {
    ClientOptions options;
    options.endpoints = endpoints;
    Client client(options, Clock::Real());
    return RunSnapshotSave(&client, output_, path_);
  }
  void WriteBackup(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }
  RestoreFlags Flags() {
    RestoreFlags flags;
    flags.path = path_;
    flags.name = "n1";
    flags.data_dir = directory_ + "/restored";
    flags.initial_cluster = "n1=http://127.0.0.1:1,n2=http://127.0.0.1:2";
    flags.initial_cluster_token = "new";
    flags.initial_advertise_peer_urls = "http://127.0.0.1:1";
    return flags;
  }

  std::string directory_;
  std::string bytes_;
  std::string path_;
  std::unique_ptr<Printer> printer_ = NewSimplePrinter({});
  std::ostringstream out_;
  std::ostringstream err_;
  const Output output_{printer_.get(), &out_, &err_};
};

TEST_F(CtlSnapshotTest, SaveWritesTheFileAndStatusSaysWhatIsInIt) {
  FakeNode node(bytes_);
  ASSERT_EQ(Save({node.endpoint()}), kExitOk) << err_.str();
  EXPECT_EQ(fs::file_size(path_), bytes_.size());
  EXPECT_FALSE(fs::exists(path_ + ".part"));
  out_.str("");
  EXPECT_EQ(RunSnapshotStatus(output_, path_), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), testing::ContainsRegex("^[0-9a-f]{8}, 4, 3, "));
}

TEST_F(CtlSnapshotTest, ABrokenStreamLeavesTheOldFileAlone) {
  WriteBackup("the old one");
  FakeNode cut(bytes_.substr(0, bytes_.size() / 2));
  EXPECT_EQ(Save({cut.endpoint()}), kExitFailed);
  EXPECT_THAT(err_.str(), HasSubstr("is not a whole snapshot"));
  FakeNode fails(bytes_);
  fails.status = {grpc::StatusCode::UNAVAILABLE, "going down"};
  EXPECT_EQ(Save({fails.endpoint()}), kExitFailed);
  EXPECT_EQ(fs::file_size(path_), std::string("the old one").size());
  EXPECT_FALSE(fs::exists(path_ + ".part"));
  FakeNode good(bytes_);
  EXPECT_EQ(Save({fails.endpoint(), good.endpoint()}), kExitOk) << err_.str();
  EXPECT_EQ(fs::file_size(path_), bytes_.size());
}

TEST_F(CtlSnapshotTest, WhenItIsInterruptedNothingStays) {
  WriteBackup("the old one");
  FakeNode node(bytes_.substr(0, bytes_.size() / 2));
  node.stalls = true;
  const pid_t child = fork();
  if (child == 0) {
    execl(RAFTKVCTL, RAFTKVCTL, "--endpoints", node.endpoint().c_str(), "--command-timeout", "60s",
          "snapshot", "save", path_.c_str(), nullptr);
    _exit(127);
  }
  const std::string part = path_ + "." + std::to_string(child) + ".part";
  std::error_code error;
  for (int i = 0; i < 60'000 && (!fs::exists(part) || fs::file_size(part, error) == 0); ++i) {
    usleep(1000);
  }
  EXPECT_TRUE(fs::exists(part)) << "it never began";
  kill(child, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
  EXPECT_FALSE(fs::exists(part));
  EXPECT_EQ(fs::file_size(path_), std::string("the old one").size());
}

// Of a run that was killed, and had this one's process id.
TEST_F(CtlSnapshotTest, APartThatWasLeftIsWrittenOver) {
  const std::string part = path_ + "." + std::to_string(getpid()) + ".part";
  std::ofstream(part) << std::string(bytes_.size() + 1000, 'x');
  FakeNode node(bytes_);
  ASSERT_EQ(Save({node.endpoint()}), kExitOk) << err_.str();
  EXPECT_EQ(fs::file_size(path_), bytes_.size());
  EXPECT_FALSE(fs::exists(part));
}

TEST_F(CtlSnapshotTest, RestoreMakesANodeOfANewClusterOnce) {
  WriteBackup(bytes_);
  ASSERT_EQ(RunSnapshotRestore(output_, Flags()), kExitOk) << err_.str();
  store::EngineOptions options;
  options.path = directory_ + "/restored/db";
  {
    const auto engine = store::Engine::Open(options).value();
    EXPECT_EQ(engine->identity().cluster, DeriveClusterId("new", {"n1", "n2"}));
    EXPECT_EQ(engine->identity().node, DeriveNodeId("new", "n1"));
    const auto log = wal::LogStore(engine.get()).Recover();
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    EXPECT_EQ(log->membership.voters.size(), 2u);
    EXPECT_EQ(log->membership.info.at(DeriveNodeId("new", "n2")).peer_urls,
              std::vector<std::string>{"http://127.0.0.1:2"});
    const auto kv = store::KvStore::Open(engine.get());
    ASSERT_TRUE(kv.ok()) << kv.status().ToString();
  }
  EXPECT_EQ(RunSnapshotRestore(output_, Flags()), kExitFailed);
  EXPECT_THAT(err_.str(), HasSubstr("is not empty"));
}

TEST_F(CtlSnapshotTest, RestoreRefusesTheOldClusterWrongFlagsAndDamage) {
  WriteBackup(bytes_);
  RestoreFlags same = Flags();
  same.initial_cluster_token = "raftkv-cluster";
  same.initial_cluster = "n1=http://127.0.0.1:1";
  EXPECT_EQ(RunSnapshotRestore(output_, same), kExitFailed);
  EXPECT_THAT(err_.str(), HasSubstr("choose another --initial-cluster-token"));
  RestoreFlags stranger = Flags();
  stranger.name = "n3";
  EXPECT_EQ(RunSnapshotRestore(output_, stranger), kExitUsage);
  RestoreFlags elsewhere = Flags();
  elsewhere.initial_advertise_peer_urls = "http://127.0.0.1:9";
  EXPECT_EQ(RunSnapshotRestore(output_, elsewhere), kExitUsage);
  RestoreFlags shared = Flags();
  shared.initial_cluster = "n1=http://127.0.0.1:1,n2=http://127.0.0.1:1";
  EXPECT_EQ(RunSnapshotRestore(output_, shared), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("'n1' and 'n2' the same URL, http://127.0.0.1:1;"));
  RestoreFlags bytes = Flags();
  bytes.name = "n\xff";
  bytes.initial_cluster.clear();
  EXPECT_EQ(RunSnapshotRestore(output_, bytes), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("--name must be valid UTF-8"));
  bytes.name = "n1";
  bytes.initial_cluster = "n1=http://127.0.0.1:1,n\xff=http://127.0.0.1:2";
  EXPECT_EQ(RunSnapshotRestore(output_, bytes), kExitUsage);
  EXPECT_THAT(err_.str(), HasSubstr("--initial-cluster must be valid UTF-8"));
  std::string damaged = bytes_;
  damaged[damaged.size() / 3] ^= 1;
  WriteBackup(damaged);
  EXPECT_EQ(RunSnapshotRestore(output_, Flags()), kExitFailed);
  EXPECT_FALSE(fs::exists(directory_ + "/restored"));
}

}  // namespace
}  // namespace raftkv::tools::ctl
