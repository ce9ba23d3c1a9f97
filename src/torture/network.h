// The links between nodes: TCP connections through a proxy that can hold them up.
//
// All nodes call a node at the same address, because they tell each other addresses. So a
// connection must be asked who makes it: which process has the socket at its other end (/proc).
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

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
  // `caller`: the number of the node whose process calls from port `from` of this machine to port
  // `to`; nothing if none does, and then the call is refused. On the network's thread.
  explicit Network(std::function<std::optional<int>(int from, int to)> caller);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Node `to` listens at `port` of this machine; returns the port at which the others call it.
  StatusOr<int> Add(int to, int port);

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
    int from = 0;
    int near = -1;  // the caller's
    int far = -1;
    bool connected = false;
    bool dead = false;
    Pipe to_far;
    Pipe to_near;
  };
  struct Link {
    LinkState state = LinkState::kOpen;
    std::chrono::milliseconds delay{0};
  };
  struct Target {
    int listener = -1;
    int listener_port = 0;
    int port = 0;
    std::list<Connection> connections;
  };

  void Run();
  void Wake();
  // These need mutex_.
  void Accept(int to, Target* target);
  static void Connect(const Target& target, Connection* connection);
  static void Carry(const Target& target, const Link& link, Connection* connection,
                    Clock::time_point now);
  // What to wait for on the connection.
  static void Poll(const Connection& connection, Clock::time_point now,
                   std::vector<pollfd>* polled);
  static bool Receive(int from, Pipe* pipe, Clock::time_point release);
  static bool Deliver(int to, Pipe* pipe, Clock::time_point now);

  const std::function<std::optional<int>(int, int)> caller_;
  std::mutex mutex_;
  std::map<int, Target> targets_;
  std::map<std::pair<int, int>, Link> links_;
  bool stop_ = false;
  int wake_[2] = {-1, -1};
  std::thread thread_;
};

// Whether process `pid` has a TCP socket that is connected from port `from` to port `to` of this
// machine.
bool HasConnection(int pid, int from, int to);

// A port of this machine that nobody listens at; another one each time. One thread at a time.
StatusOr<int> FreePort();

}  // namespace raftkv::torture
