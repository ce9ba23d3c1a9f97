#include "torture/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <utility>

namespace raftkv::torture {
namespace {

constexpr size_t kPipeBytesMax = 4 << 20;  // then the sender has to wait, as TCP makes it
constexpr int kPollMs = 200;
constexpr int kPollWhileDelayedMs = 2;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

Status Failed(const std::string& what) {
  return {Code::kIoError, "can't " + what + ": " + std::strerror(errno)};
}

// The inodes of the sockets that are connected from one port to the other.
std::set<std::string> SocketInodes(int from, int to) {
  std::set<std::string> inodes;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    while (std::getline(file, line)) {
      std::istringstream words(line);
      std::string word, local, remote, inode;
      words >> word >> local >> remote;
      for (int i = 0; i < 7; ++i) words >> inode;
      const auto port = [](const std::string& address) {
        return std::strtol(address.c_str() + address.rfind(':') + 1, nullptr, 16);
      };
      if (local.find(':') == std::string::npos || remote.find(':') == std::string::npos) continue;
      if (port(local) == from && port(remote) == to) inodes.insert("socket:[" + inode + "]");
    }
  }
  return inodes;
}

int Listen(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_in address = Loopback(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      listen(fd, 64) == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

}  // namespace

StatusOr<int> FreePort() {
  // Below the range from which the kernel takes ports for outgoing connections: one that is free
  // now stays free while its node is down.
  static std::mt19937 random{std::random_device()()};
  static std::set<int> given;  // nobody may listen there yet
  for (int i = 0; i < 1000; ++i) {
    const int port = 20000 + static_cast<int>(random() % 12000);
    if (given.contains(port)) continue;
    const int fd = Listen(port);
    if (fd < 0) continue;
    close(fd);
    given.insert(port);
    return port;
  }
  return Failed("find a free port");
}

bool HasConnection(int pid, int from, int to) {
  const std::set<std::string> sockets = SocketInodes(from, to);
  std::error_code error;
  namespace fs = std::filesystem;
  for (fs::directory_iterator it("/proc/" + std::to_string(pid) + "/fd", error), end;
       !error && it != end; it.increment(error)) {
    std::error_code gone;
    if (sockets.contains(fs::read_symlink(it->path(), gone))) return true;
  }
  return false;
}

Network::Network(std::function<std::optional<int>(int from, int to)> caller)
    : caller_(std::move(caller)) {
  if (pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) wake_[0] = wake_[1] = -1;
  thread_ = std::thread([this] { Run(); });
}

Network::~Network() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  Wake();
  thread_.join();
  for (auto& [to, target] : targets_) {
    close(target.listener);
    for (const Connection& connection : target.connections) {
      close(connection.near);
      close(connection.far);
    }
  }
  close(wake_[0]);
  close(wake_[1]);
}

void Network::Wake() { (void)!write(wake_[1], "", 1); }

StatusOr<int> Network::Add(int to, int port) {
  Target target;
  target.port = port;
  RAFTKV_ASSIGN_OR_RETURN(target.listener_port, FreePort());
  target.listener = Listen(target.listener_port);
  if (target.listener < 0) {
    return Failed("listen at port " + std::to_string(target.listener_port));
  }
  const int own_port = target.listener_port;
  std::lock_guard lock(mutex_);
  targets_[to] = std::move(target);
  Wake();
  return own_port;
}

void Network::Set(int from, int to, LinkState state) {
  std::lock_guard lock(mutex_);
  links_[{from, to}].state = state;
  if (state == LinkState::kReset) {
    for (Connection& connection : targets_.at(to).connections) {
      if (connection.from == from) connection.dead = true;
    }
  }
  Wake();
}

void Network::Delay(int from, int to, std::chrono::milliseconds delay) {
  std::lock_guard lock(mutex_);
  links_[{from, to}].delay = delay;
}

void Network::Heal() {
  std::lock_guard lock(mutex_);
  links_.clear();
  Wake();
}

void Network::Run() {
  std::vector<pollfd> polled;
  for (;;) {
    polled.assign(1, {wake_[0], POLLIN, 0});
    int timeout_ms = kPollMs;
    {
      std::lock_guard lock(mutex_);
      if (stop_) return;
      const Clock::time_point now = Clock::now();
      for (auto& [to, target] : targets_) {
        Accept(to, &target);
        polled.push_back({target.listener, POLLIN, 0});
        for (auto it = target.connections.begin(); it != target.connections.end();) {
          const Link& link = links_[{it->from, to}];
          Carry(target, link, &*it, now);
          if (it->dead) {
            close(it->near);
            close(it->far);
            it = target.connections.erase(it);
            continue;
          }
          // On a silent link bytes wait in the sockets.
          if (link.state == LinkState::kOpen) {
            Poll(*it, now, &polled);
            if (!it->to_far.chunks.empty() || !it->to_near.chunks.empty()) {
              timeout_ms = kPollWhileDelayedMs;
            }
          }
          ++it;
        }
      }
    }
    poll(polled.data(), polled.size(), timeout_ms);
    std::array<char, 64> drained;
    while (read(wake_[0], drained.data(), drained.size()) > 0) {
    }
  }
}

void Network::Poll(const Connection& c, Clock::time_point now, std::vector<pollfd>* polled) {
  if (!c.connected) {
    polled->push_back({c.far, POLLOUT, 0});
    return;
  }
  const auto events = [now](const Pipe& in, const Pipe& out) {
    const bool due = !out.chunks.empty() && out.chunks.front().first <= now;
    return static_cast<short>((in.bytes < kPipeBytesMax ? POLLIN : 0) | (due ? POLLOUT : 0));
  };
  polled->push_back({c.near, events(c.to_far, c.to_near), 0});
  polled->push_back({c.far, events(c.to_near, c.to_far), 0});
}

void Network::Accept(int to, Target* target) {
  for (;;) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    const int near = accept4(target->listener, reinterpret_cast<sockaddr*>(&address), &size,
                             SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (near < 0) return;
    const std::optional<int> from = caller_(ntohs(address.sin_port), target->listener_port);
    if (!from || links_[{*from, to}].state == LinkState::kReset) {
      close(near);
      continue;
    }
    const int on = 1;
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection connection;
    connection.from = *from;
    connection.near = near;
    target->connections.push_back(std::move(connection));
  }
}

void Network::Connect(const Target& target, Connection* connection) {
  connection->far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(connection->far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const sockaddr_in address = Loopback(target.port);
  const int result =
      connect(connection->far, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  connection->connected = result == 0;
  connection->dead = result != 0 && errno != EINPROGRESS;
}

void Network::Carry(const Target& target, const Link& link, Connection* connection,
                    Clock::time_point now) {
  if (connection->dead || link.state != LinkState::kOpen) return;
  if (connection->far < 0) Connect(target, connection);
  if (connection->dead) return;
  if (!connection->connected) {
    pollfd writable{connection->far, POLLOUT, 0};
    if (poll(&writable, 1, 0) <= 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->far, SOL_SOCKET, SO_ERROR, &error, &size);
    connection->connected = error == 0;
    connection->dead = error != 0;
    if (connection->dead) return;
  }
  const Clock::time_point release = now + link.delay;
  // One side that is gone ends the connection: half-closed ones are of no use to gRPC.
  connection->dead = !Receive(connection->near, &connection->to_far, release) ||
                     !Receive(connection->far, &connection->to_near, release) ||
                     !Deliver(connection->far, &connection->to_far, now) ||
                     !Deliver(connection->near, &connection->to_near, now);
}

bool Network::Receive(int from, Pipe* pipe, Clock::time_point release) {
  std::array<char, 65536> buffer;
  while (pipe->bytes < kPipeBytesMax) {
    const ssize_t size = read(from, buffer.data(), buffer.size());
    if (size == 0) return false;
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    pipe->chunks.emplace_back(release, std::string(buffer.data(), static_cast<size_t>(size)));
    pipe->bytes += static_cast<size_t>(size);
  }
  return true;
}

bool Network::Deliver(int to, Pipe* pipe, Clock::time_point now) {
  while (!pipe->chunks.empty() && pipe->chunks.front().first <= now) {
    std::string& chunk = pipe->chunks.front().second;
    const ssize_t size = send(to, chunk.data(), chunk.size(), MSG_NOSIGNAL);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    pipe->bytes -= static_cast<size_t>(size);
    if (static_cast<size_t>(size) == chunk.size()) {
      pipe->chunks.pop_front();
    } else {
      chunk.erase(0, static_cast<size_t>(size));
    }
  }
  return true;
}

}  // namespace raftkv::torture
