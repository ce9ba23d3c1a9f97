// ceiling: what a durable KV.Put can cost at the least on one node. A bare gRPC server that gathers
// the requests that wait, appends them to a file, syncs it once and answers them all: no Raft, no
// RocksDB, nothing that could be read again. It has raftkvd's event loop, so that what lies between
// the two is what raftkvd does beyond serving calls and syncing.
//
//   ceiling --listen 127.0.0.1:2379 --file FILE

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <absl/synchronization/mutex.h>
#include <CLI/CLI.hpp>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "rpc.grpc.pb.h"
#include "server/event_loop.h"
#include "server/unary_call.h"

namespace {

namespace pb = etcdserverpb;
using raftkv::server::EventLoop;
using PutCall = raftkv::server::UnaryCall<pb::PutRequest, pb::PutResponse>;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "ceiling: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

// Appends and syncs on a thread of its own, a batch at a time.
class Disk {
 public:
  Disk(const std::string& path, EventLoop* loop) : loop_(loop) {
    fd_ = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0) Die("open");
    thread_ = std::thread([this] { Run(); });
  }
  ~Disk() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
    close(fd_);
  }

  // On the loop's thread. False: it is at work, or has answers to be taken.
  bool TryGive(std::vector<PutCall*>* calls, std::string* bytes) {
    {
      std::lock_guard lock(mutex_);
      if (!calls_.empty()) return false;
      calls_.swap(*calls);
      bytes_.swap(*bytes);
    }
    changed_.notify_one();
    return true;
  }
  // On the loop's thread: the calls that are on disk now.
  void TakeSynced(std::vector<PutCall*>* calls) {
    std::lock_guard lock(mutex_);
    if (!synced_) return;
    synced_ = false;
    calls->swap(calls_);
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || (!calls_.empty() && !synced_); });
      if (stopping_) return;
      lock.unlock();
      Write();
      lock.lock();
      synced_ = true;
      loop_->Wake();
    }
  }
  void Write() {
    for (size_t at = 0; at < bytes_.size();) {
      const ssize_t written = write(fd_, bytes_.data() + at, bytes_.size() - at);
      if (written < 0) Die("write");
      at += static_cast<size_t>(written);
    }
    if (fdatasync(fd_) != 0) Die("fdatasync");
    bytes_.clear();
  }

  EventLoop* const loop_;
  int fd_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<PutCall*> calls_;
  std::string bytes_;  // the thread's own while there are calls that are not synced
  bool synced_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

class Server {
 public:
  Server(const std::string& address, const std::string& path) : disk_(path, &loop_) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    auto* queue = loop_.AddServer(&builder, EventLoop::NewCalls::kAtOnce);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) {
      std::fprintf(stderr, "ceiling: can't listen on %s\n", address.c_str());
      std::exit(1);
    }
    PutCall::Start(
        loop_.open(),
        [this, queue](grpc::ServerContext* context, pb::PutRequest* request,
                      grpc::ServerAsyncResponseWriter<pb::PutResponse>* writer, void* tag) {
          service_.RequestPut(context, request, writer, queue, queue, tag);
        },
        [this](PutCall* call) {
          waiting_.push_back(call);
          call->request().AppendToString(&bytes_);
        });
    loop_.SetTurn([this] { return Turn(); });
    loop_.Start();
  }
  ~Server() {
    loop_.SetTurn(nullptr);
    server_->Shutdown(std::chrono::system_clock::now());
    loop_.Stop();
  }

 private:
  EventLoop::Clock::time_point Turn() {
    std::vector<PutCall*> synced;
    disk_.TakeSynced(&synced);
    // The next batch first: it is on its way to the disk while these are answered.
    if (!waiting_.empty()) disk_.TryGive(&waiting_, &bytes_);
    for (PutCall* call : synced) {
      response_.mutable_header()->set_revision(++revision_);
      call->Finish(raftkv::Status(), response_);
    }
    return EventLoop::Clock::time_point::max();
  }

  pb::KV::AsyncService service_;
  EventLoop loop_;
  Disk disk_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<PutCall*> waiting_;
  std::string bytes_;
  pb::PutResponse response_;
  int64_t revision_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::string address;
  std::string path;
  CLI::App app{"The upper bound for durable puts on one node", "ceiling"};
  app.add_option("--listen", address, "host:port")->required();
  app.add_option("--file", path, "Where to append")->required();
  CLI11_PARSE(app, argc, argv);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  Server server(address, path);
  int signal = 0;
  sigwait(&signals, &signal);
  // The calls under way go with the process: nobody relies on them.
  std::_Exit(0);
}
