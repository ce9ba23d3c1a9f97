// An event loop that runs, and the receiving end of a peer on one, for tests.
#pragma once

#include <grpcpp/grpcpp.h>

#include <utility>
#include <vector>

#include "server/event_loop.h"
#include "server/peer_service.h"

namespace raftkv::server {

// A loop waits for the calls of some server that is called often; in tests there is none.
inline void AddQueue(EventLoop* loop) {
  grpc::ServerBuilder nobody;
  loop->AddServer(&nobody, EventLoop::NewCalls::kAtOnce);
}

class RunningLoop {
 public:
  RunningLoop() {
    AddQueue(&loop_);
    loop_.Start();
  }
  EventLoop* get() { return &loop_; }

 private:
  EventLoop loop_;
};

// A peer service that listens on 127.0.0.1, at `port` or one of the system's choice.
class ListeningPeer {
 public:
  ListeningPeer(ClusterId cluster, NodeId self, PeerHandlers handlers, int port = 0)
      : service_(cluster, self, std::move(handlers)) {
    AddQueue(&loop_);
    std::vector<int> ports;
    up_ = service_.Listen({{"127.0.0.1", static_cast<uint16_t>(port)}}, &loop_, &ports).ok();
    port_ = ports.at(0);
    if (up_) service_.Accept();
    loop_.Start();
  }
  ~ListeningPeer() {
    service_.Shutdown();
    loop_.Stop();
  }

  bool up() const { return up_; }
  int port() const { return port_; }
  Url url() const { return {"127.0.0.1", static_cast<uint16_t>(port_)}; }
  PeerService* service() { return &service_; }

 private:
  EventLoop loop_;
  PeerService service_;
  bool up_ = false;
  int port_ = 0;
};

}  // namespace raftkv::server
