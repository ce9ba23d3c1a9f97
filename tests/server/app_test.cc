// What a whole node refuses to start on, and that the refusal costs nothing. Network and signals
// are tests/e2e's.

#include "server/app.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <map>

#include "rpc.grpc.pb.h"
#include "store/engine.h"
#include "store/mvcc.h"
#include "store/wal_file_system.h"
#include "wal/fence.h"

namespace raftkv::server {
namespace {

namespace fs = std::filesystem;

// A port that was free a moment ago.
uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

class AppTest : public testing::Test {
 protected:
  AppTest() {
    std::string pattern = testing::TempDir() + "raftkv-app-XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  ~AppTest() override { fs::remove_all(dir_); }

  ServerOptions Options(const std::string& name = "n1") const {
    const auto url = [] { return "http://127.0.0.1:" + std::to_string(FreePort()); };
    const std::vector<std::string> args = {"raftkvd",
                                           "--name=" + name,
                                           "--data-dir=" + data(),
                                           "--listen-client-urls=" + url(),
                                           "--listen-peer-urls=" + url(),
                                           "--listen-http-urls=" + url(),
                                           "--heartbeat-interval=10",
                                           "--election-timeout=100"};
    std::vector<const char*> argv;
    for (const std::string& arg : args) argv.push_back(arg.c_str());
    return ParseOptions(static_cast<int>(argv.size()), argv.data()).value().options;
  }

  std::string data() const { return dir_ + "/n1"; }

  // Starts a node and stops it cleanly.
  Status RunOnce(const std::string& name = "n1") const {
    App app(Options(name));
    RAFTKV_RETURN_IF_ERROR(app.Start());
    return app.Stop();
  }

  // As RunOnce, with a write in between, acknowledged before `meanwhile` and applied before the
  // stop.
  Status RunAndPut(const std::function<void()>& meanwhile = nullptr) const {
    const ServerOptions options = Options();
    App app(options);
    RAFTKV_RETURN_IF_ERROR(app.Start());
    const auto channel = grpc::CreateChannel(options.listen_client_urls[0].HostPort(),
                                             grpc::InsecureChannelCredentials());
    // The node publishes its attributes once it leads. Not while somebody copies its log: behind
    // the put nothing is to be written.
    const auto cluster = etcdserverpb::Cluster::NewStub(channel);
    for (etcdserverpb::MemberListResponse members;
         members.members_size() == 0 || members.members(0).clienturls_size() == 0;) {
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      const grpc::Status listed = cluster->MemberList(&context, {}, &members);
      if (!listed.ok()) return {Code::kUnavailable, listed.error_message()};
    }
    const auto stub = etcdserverpb::KV::NewStub(channel);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    etcdserverpb::PutRequest request;
    request.set_key("k");
    etcdserverpb::PutResponse response;
    const grpc::Status put = stub->Put(&context, request, &response);
    EXPECT_TRUE(put.ok()) << put.error_message();
    if (meanwhile) meanwhile();
    return app.Stop();
  }

  // Runs a node and opens sessions in it, each with a write, until there are too many.
  static int SessionsUntilRefused(const ServerOptions& options) {
    App app(options);
    EXPECT_TRUE(app.Start().ok());
    const auto stub = etcdserverpb::KV::NewStub(grpc::CreateChannel(
        options.listen_client_urls[0].HostPort(), grpc::InsecureChannelCredentials()));
    int taken = 0;
    for (grpc::Status put; put.ok(); ++taken) {
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      context.AddMetadata("raftkv-client", options.data_dir + std::to_string(taken));
      context.AddMetadata("raftkv-sequence", "1");
      etcdserverpb::PutRequest request;
      request.set_key("k");
      etcdserverpb::PutResponse response;
      put = stub->Put(&context, request, &response);
      if (put.ok()) continue;
      EXPECT_EQ(put.error_message(), "raftkv: too many sessions");
      break;
    }
    EXPECT_TRUE(app.Stop().ok());
    return taken;
  }

  void ExpectRefused(const std::string& part, const std::string& name = "n1") const {
    // On every try: a refusal that repairs, or removes, what it refused would let the next one in.
    for (int attempt = 1; attempt <= 2; ++attempt) {
      const Status status = RunOnce(name);
      EXPECT_FALSE(status.ok()) << "attempt " << attempt;
      EXPECT_NE(status.message().find(part), std::string::npos) << status;
    }
  }

  std::unique_ptr<store::Engine> OpenEngine() const {
    store::EngineOptions options;
    options.path = data() + "/db";
    return store::Engine::Open(options).value();
  }
  // Of the stopped node.
  static store::AppliedRecord ReadApplied(store::Engine* engine) {
    return store::DecodeAppliedRecord(engine->GetFlushedKv(store::AppliedKey()).value()).value();
  }

  // Moves what the applied record of the stopped node says it stands for.
  LogPosition RewriteApplied(const std::function<void(LogPosition*)>& move) const {
    const std::unique_ptr<store::Engine> engine = OpenEngine();
    store::AppliedRecord record = ReadApplied(engine.get());
    move(&record.position);
    rocksdb::WriteOptions write;
    write.disableWAL = true;
    EXPECT_TRUE(engine->db()
                    ->Put(write, engine->kv().get(), store::AppliedKey(),
                          store::EncodeAppliedRecord(record))
                    .ok());
    EXPECT_TRUE(engine->FlushKv().ok());
    return record.position;
  }

  std::string Manifest() const {
    std::ifstream current(data() + "/db/CURRENT");
    std::string name;
    std::getline(current, name);
    return data() + "/db/" + name;
  }

  static std::string ReadFile(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void WriteFile(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  // Every file of the node, but for the one that says which process holds it.
  std::map<std::string, std::string> Contents() const {
    std::map<std::string, std::string> contents;
    for (const auto& file : fs::recursive_directory_iterator(data())) {
      if (!file.is_regular_file() || file.path().filename() == "raftkv.lock") continue;
      contents[fs::relative(file.path(), data())] = ReadFile(file.path());
    }
    return contents;
  }

  static constexpr fs::copy_options kAll = fs::copy_options::recursive;
  std::string dir_;
};

TEST_F(AppTest, StartsStopsAndStartsAgain) {
  ASSERT_TRUE(RunOnce().ok());
  const Status again = RunOnce();
  EXPECT_TRUE(again.ok()) << again;
}

// RocksDB takes a chunk that reaches past the end of the MANIFEST for a torn write and opens the
// list of files before it: an empty log, and no vote.
TEST_F(AppTest, AFlippedLengthInTheManifestIsRefused) {
  ASSERT_TRUE(RunOnce().ok());
  ASSERT_TRUE(RunOnce().ok());
  const std::string path = Manifest();
  const std::string whole = ReadFile(path);
  std::string damaged = whole;
  // Bytes 4 and 5 of the first chunk are its length, little-endian.
  damaged[5] = static_cast<char>(damaged[5] | 0x70);
  WriteFile(path, damaged);
  ExpectRefused("damaged at offset 0");
  WriteFile(path, whole);
  const Status status = RunOnce();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(AppTest, ADeletedDatabaseIsNotStartedEmpty) {
  ASSERT_TRUE(RunOnce().ok());
  fs::rename(data() + "/db", dir_ + "/elsewhere");
  ExpectRefused("its database (db) is gone");
  EXPECT_FALSE(fs::exists(data() + "/db"));
  fs::rename(dir_ + "/elsewhere", data() + "/db");
  EXPECT_TRUE(RunOnce().ok());
}

TEST_F(AppTest, ADeletedCurrentIsRefused) {
  ASSERT_TRUE(RunOnce().ok());
  const std::string current = ReadFile(data() + "/db/CURRENT");
  fs::remove(data() + "/db/CURRENT");
  ExpectRefused("CURRENT");
  WriteFile(data() + "/db/CURRENT", current);
  EXPECT_TRUE(RunOnce().ok());
}

TEST_F(AppTest, AnotherNodesDirectoryIsRefused) {
  ASSERT_TRUE(RunOnce("n1").ok());
  ExpectRefused("belongs to", "n2");
  EXPECT_TRUE(RunOnce("n1").ok());
}

// Nor is anything of it changed: not even its mode, which a node makes private.
TEST_F(AppTest, ADirectoryOfSomethingElseIsRefusedAndLeftAlone) {
  const auto holds = [&](const std::string& name) {
    ExpectRefused("not a raftkv data directory");
    EXPECT_EQ(fs::status(data()).permissions() & fs::perms::all, fs::perms(0755)) << name;
    EXPECT_EQ(std::distance(fs::directory_iterator(data()), fs::directory_iterator()), 1) << name;
  };
  fs::create_directory(data());
  fs::permissions(data(), fs::perms(0755));
  WriteFile(data() + "/notes.txt", "mine");
  holds("a file");
  fs::remove(data() + "/notes.txt");
  fs::create_directory(data() + "/member");  // as etcd has it
  holds("etcd's data");
  fs::remove(data() + "/member");
  WriteFile(data() + "/db", "a file");
  holds("a file with our database's name");
}

TEST_F(AppTest, AStartRemovesItsOwnCheckpointsAndNothingElse) {
  ASSERT_TRUE(RunOnce().ok());
  const std::vector<std::string> ours = {"backup.17", "backup.17.tmp", "snapshot.out",
                                         "snapshot.out.tmp"};
  const std::vector<std::string> others = {"backup.db", "backup.", "backup.17x", "backups"};
  for (const auto* names : {&ours, &others}) {
    for (const std::string& name : *names) {
      fs::create_directory(data() + "/" + name);
      std::ofstream(data() + "/" + name + "/file") << "x";
    }
  }
  std::ofstream(data() + "/backup.18") << "a file is nothing of ours";
  ASSERT_TRUE(RunOnce().ok());
  for (const std::string& name : ours) EXPECT_FALSE(fs::exists(data() + "/" + name)) << name;
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(data() + "/" + name)) << name;
  EXPECT_TRUE(fs::exists(data() + "/backup.18"));
}

TEST_F(AppTest, ARemovedMembersDirectorySaysSoWhateverIsLeftOfIt) {
  ASSERT_TRUE(RunOnce().ok());
  WriteFile(data() + "/removed", "its removal is committed\n");
  ExpectRefused("was removed from its cluster");
  fs::remove_all(data() + "/db");
  ExpectRefused("run raftkvctl member add");
  fs::remove(data() + "/member");
  ExpectRefused("run raftkvctl member add");
}

TEST_F(AppTest, AFirstStartThatWasCutShortIsMadeGood) {
  fs::create_directories(data() + "/db.bootstrap");
  WriteFile(data() + "/db.bootstrap/CURRENT", "MANIFEST-");
  WriteFile(data() + "/raftkv.lock", "1\n");
  fs::create_directory(data() + "/lost+found");
  const Status status = RunOnce();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(AppTest, AppliedStateBeyondTheLogIsRefused) {
  ASSERT_TRUE(RunAndPut().ok());
  const LogPosition applied = RewriteApplied([](LogPosition* at) { at->index = at->index + 1; });
  ExpectRefused("but the log ends at " + std::to_string(applied.index.value() - 1));
  RewriteApplied([](LogPosition* at) { at->index = Index(at->index.value() - 1); });
  EXPECT_TRUE(RunOnce().ok());
}

TEST_F(AppTest, AppliedStateOfAnotherLogIsRefused) {
  ASSERT_TRUE(RunAndPut().ok());
  RewriteApplied([](LogPosition* at) { at->term = Term(at->term.value() + 1); });
  ExpectRefused("disagree on the term of index");
  RewriteApplied([](LogPosition* at) { at->term = Term(at->term.value() - 1); });
  EXPECT_TRUE(RunOnce().ok());
}

// They are the cluster's: a node that is told nothing goes on with what it was told last.
TEST_F(AppTest, ALeaderWithSessionFlagsSetsTheLimitsAndTheyStay) {
  ServerOptions options = Options();
  options.max_sessions = 3;
  const int taken = SessionsUntilRefused(options);
  EXPECT_GE(taken, 3);
  EXPECT_EQ(ReadApplied(OpenEngine().get()).session_limits,
            (store::SessionLimits{.sessions_max = 3}));
  EXPECT_EQ(SessionsUntilRefused(Options()), taken) << "these are known, and no other is let in";
  EXPECT_EQ(ReadApplied(OpenEngine().get()).session_limits,
            (store::SessionLimits{.sessions_max = 3}));
}

// The only member there is: nobody else has what it lost.
TEST_F(AppTest, AnOlderDatabaseUnderTheSamePromisesIsRefused) {
  ASSERT_TRUE(RunAndPut().ok());
  const std::string older = dir_ + "/older";
  fs::copy(data() + "/db", older, fs::copy_options::recursive);
  ASSERT_TRUE(RunAndPut().ok());
  fs::remove_all(data() + "/db");
  fs::rename(older, data() + "/db");
  ExpectRefused("this node acknowledged entries up to index");
  // The way out that the message names.
  fs::remove(data() + "/fence");
  EXPECT_TRUE(RunAndPut().ok());
}

// The database is from before the last term that this node knew, and says nothing of it.
TEST_F(AppTest, ATermThatOnlyTheFenceRemembersIsNotUsedAgain) {
  ASSERT_TRUE(RunAndPut().ok());
  const ServerOptions options = Options();
  const std::string path = data() + "/" + wal::kFenceFile;
  {
    const auto fence = wal::Fence::Open(path, options.cluster_id, options.id, /*now_us=*/0).value();
    const LogPosition last = fence->found().acknowledged.at_least;
    ASSERT_TRUE(fence->Cover(Term(50), NodeId(7), last, {}).ok());
  }
  ASSERT_TRUE(RunAndPut().ok());
  EXPECT_GT(wal::Fence::Read(path, options.cluster_id, options.id).value()->term, Term(50));
}

// The same after a write that looks cut off: opening would drop it, but what a start refuses is
// left for somebody to look at.
TEST_F(AppTest, ARefusalDropsNoTornTail) {
  ASSERT_TRUE(RunAndPut([this] { fs::copy(data(), dir_ + "/crashed", kAll); }).ok());
  fs::remove_all(data());
  fs::rename(dir_ + "/crashed", data());
  std::string newest;
  for (const auto& file : fs::directory_iterator(data() + "/db")) {
    if (file.path().extension() == ".log" && file.file_size() > 0) {
      newest = std::max(newest, file.path().string());
    }
  }
  const std::string whole = ReadFile(newest);
  // Zeros follow that were written ahead.
  uint64_t log_bytes = 0;
  ASSERT_TRUE(store::DefaultEnv()->GetFileSize(newest, &log_bytes).ok());
  ASSERT_LT(log_bytes, whole.size());
  std::string torn = whole.substr(0, log_bytes - 3);
  torn.resize(whole.size());
  WriteFile(newest, torn);
  const auto before = Contents();
  ExpectRefused("this node acknowledged entries up to index");
  EXPECT_EQ(Contents(), before);
  WriteFile(newest, whole);
  const Status status = RunOnce();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(AppTest, ADirectoryInUseIsRefused) {
  App first(Options());
  ASSERT_TRUE(first.Start().ok());
  ExpectRefused("in use by process");
  EXPECT_TRUE(first.Stop().ok());
}

TEST_F(AppTest, APortInUseIsRefusedAndNamed) {
  ASSERT_TRUE(RunOnce().ok());
  ServerOptions options = Options();
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(options.listen_client_urls[0].port);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  App app(options);
  const Status status = app.Start();
  close(fd);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find(options.listen_client_urls[0].HostPort()), std::string::npos);
}

}  // namespace
}  // namespace raftkv::server
