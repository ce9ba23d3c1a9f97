#include "torture/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

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
  for (int i = 0; i < 1000; ++i) {
    const int port = 20000 + static_cast<int>(random() % 12000);
    const int fd = Listen(port);
    if (fd < 0) continue;
    close(fd);
    return port;
  }
  return Failed("find a free port");
}

Network::Network() {
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
  for (auto& [ends, link] : links_) {
    close(link.listener);
    for (const Connection& connection : link.connections) {
      close(connection.near);
      close(connection.far);
    }
  }
  close(wake_[0]);
  close(wake_[1]);
}

void Network::Wake() { (void)!write(wake_[1], "", 1); }

StatusOr<int> Network::Add(int from, int to, int port) {
  Link link;
  link.port = port;
  RAFTKV_ASSIGN_OR_RETURN(const int own_port, FreePort());
  link.listener = Listen(own_port);
  if (link.listener < 0) return Failed("listen at port " + std::to_string(own_port));
  std::lock_guard lock(mutex_);
  links_[{from, to}] = std::move(link);
  Wake();
  return own_port;
}

void Network::Set(int from, int to, LinkState state) {
  std::lock_guard lock(mutex_);
  Link& link = links_.at({from, to});
  link.state = state;
  if (state == LinkState::kReset) {
    for (Connection& connection : link.connections) connection.dead = true;
  }
  Wake();
}

void Network::Delay(int from, int to, std::chrono::milliseconds delay) {
  std::lock_guard lock(mutex_);
  links_.at({from, to}).delay = delay;
}

void Network::Heal() {
  std::lock_guard lock(mutex_);
  for (auto& [ends, link] : links_) {
    link.state = LinkState::kOpen;
    link.delay = {};
  }
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
      for (auto& [ends, link] : links_) {
        Accept(&link);
        for (auto it = link.connections.begin(); it != link.connections.end();) {
          Carry(link, &*it, now);
          if (!it->dead) {
            ++it;
            continue;
          }
          close(it->near);
          close(it->far);
          it = link.connections.erase(it);
        }
        // A call into a stalled link waits in the listener's queue, a byte in the socket.
        if (link.state == LinkState::kStalled) continue;
        polled.push_back({link.listener, POLLIN, 0});
        for (const Connection& c : link.connections) {
          const auto events = [&](const Pipe& in, const Pipe& out) {
            const bool due = !out.chunks.empty() && out.chunks.front().first <= now;
            return static_cast<short>((in.bytes < kPipeBytesMax ? POLLIN : 0) |
                                      (due ? POLLOUT : 0));
          };
          if (c.connected) polled.push_back({c.near, events(c.to_far, c.to_near), 0});
          polled.push_back(
              {c.far, c.connected ? events(c.to_near, c.to_far) : static_cast<short>(POLLOUT), 0});
          if (!c.to_far.chunks.empty() || !c.to_near.chunks.empty()) {
            timeout_ms = kPollWhileDelayedMs;
          }
        }
      }
    }
    poll(polled.data(), polled.size(), timeout_ms);
    std::array<char, 64> drained;
    while (read(wake_[0], drained.data(), drained.size()) > 0) {
    }
  }
}

void Network::Accept(Link* link) {
  if (link->state == LinkState::kStalled) return;
  for (;;) {
    const int near = accept4(link->listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (near < 0) return;
    if (link->state == LinkState::kReset) {
      close(near);
      continue;
    }
    Connection connection;
    connection.near = near;
    connection.far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    setsockopt(connection.near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection.far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const sockaddr_in address = Loopback(link->port);
    const int result =
        connect(connection.far, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    connection.connected = result == 0;
    connection.dead = result != 0 && errno != EINPROGRESS;
    link->connections.push_back(std::move(connection));
  }
}

void Network::Carry(const Link& link, Connection* connection, Clock::time_point now) {
  if (connection->dead || link.state != LinkState::kOpen) return;
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
