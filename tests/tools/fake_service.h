// What the tests of raftkvctl's calls share: services faked in this process, and a clock that does
// not let them wait.
#pragma once

#include <chrono>
#include <initializer_list>
#include <memory>
#include <string>

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "tools/ctl/client.h"

namespace raftkv::tools::ctl {

// Real time, except that sleeping only moves it on.
class SkippingClock : public Clock {
 public:
  std::chrono::system_clock::time_point Now() override {
    return std::chrono::system_clock::now() + skipped_;
  }
  void SleepFor(std::chrono::milliseconds duration) override { skipped_ += duration; }

 private:
  std::chrono::milliseconds skipped_{0};
};

// Serves `services`, which must outlive it, on a port of its own.
class FakeServer {
 public:
  explicit FakeServer(std::initializer_list<grpc::Service*> services) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    for (grpc::Service* service : services) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    endpoint_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeServer() { Stop(); }

  // Returns once no call is being served. Idempotent.
  void Stop() {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  const std::string& endpoint() const { return endpoint_; }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string endpoint_;
};

}  // namespace raftkv::tools::ctl
