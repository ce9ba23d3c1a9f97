// The links between nodes: TCP connections through a proxy that can hold them up.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "common/status.h"

namespace raftkv::torture {

enum class LinkState {
  kOpen,
  kStalled,  // connections stay and nothing arrives, as with a pulled cable
  kReset,    // connections break, and new ones are closed at once
};

// Thread-safe. One thread carries all bytes.
class Network {
 public:
  Network();
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // The link over which node `from` calls node `to`, which listens at `port` of this machine;
  // returns the port to call.
  StatusOr<int> Add(int from, int to, int port);

  // Of the link over which `from` calls `to`. Bytes of both directions.
  void Set(int from, int to, LinkState state);
  void Delay(int from, int to, std::chrono::milliseconds delay);
  // All links are open and without delay again.
  void Heal();

 private:
  using Clock = std::chrono::steady_clock;
  struct Pipe {                                                    // one direction of a connection
    std::deque<std::pair<Clock::time_point, std::string>> chunks;  // when each may go on
    size_t bytes = 0;
  };
  struct Connection {
    int near = -1;  // the caller's
    int far = -1;
    bool connected = false;
    bool dead = false;
    Pipe to_far;
    Pipe to_near;
  };
  struct Link {
    int listener = -1;
    int port = 0;
    LinkState state = LinkState::kOpen;
    std::chrono::milliseconds delay{0};
    std::list<Connection> connections;
  };

  void Run();
  void Wake();
  // These need mutex_.
  void Accept(Link* link);
  void Carry(const Link& link, Connection* connection, Clock::time_point now);
  static bool Receive(int from, Pipe* pipe, Clock::time_point release);
  static bool Deliver(int to, Pipe* pipe, Clock::time_point now);

  std::mutex mutex_;
  std::map<std::pair<int, int>, Link> links_;
  bool stop_ = false;
  int wake_[2] = {-1, -1};
  std::thread thread_;
};

// A port of this machine that nobody listens at.
StatusOr<int> FreePort();

}  // namespace raftkv::torture
