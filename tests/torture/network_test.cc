// The proxy between nodes, with sockets of this process at both ends.

#include "torture/network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <optional>
#include <set>
#include <thread>

namespace raftkv::torture {
namespace {

constexpr int kPatienceMs = 30'000;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

class NetworkTest : public testing::Test {
 protected:
  NetworkTest() {
    const int port = FreePort().value();
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(port);
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    port_ = network_.Add(1, port).value();
  }
  ~NetworkTest() override {
    close(listener_);
    close(near_);
    close(far_);
  }

  void Connect() {
    near_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(port_);
    ASSERT_EQ(connect(near_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  void Accept() {
    ASSERT_TRUE(Comes(listener_));
    far_ = accept(listener_, nullptr, nullptr);
    ASSERT_GE(far_, 0);
  }

  static bool Comes(int fd, int patience_ms = kPatienceMs) {
    pollfd polled{fd, POLLIN, 0};
    return poll(&polled, 1, patience_ms) == 1;
  }
  static void Send(int fd, const std::string& text) {
    ASSERT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Up to `size` bytes; less when the connection ends.
  static std::string Receive(int fd, size_t size) {
    std::string all;
    std::array<char, 65536> buffer;
    while (all.size() < size && Comes(fd)) {
      const ssize_t count = recv(fd, buffer.data(), buffer.size(), 0);
      if (count <= 0) break;
      all.append(buffer.data(), static_cast<size_t>(count));
    }
    return all;
  }

  Network network_{[](int from, int to) {
    return HasConnection(getpid(), from, to) ? std::optional<int>(0) : std::nullopt;
  }};
  int listener_ = -1;
  int port_ = 0;
  int near_ = -1;
  int far_ = -1;
};

TEST_F(NetworkTest, BytesGoBothWays) {
  Connect();
  Accept();
  Send(near_, "there");
  EXPECT_EQ(Receive(far_, 5), "there");
  Send(far_, "back");
  EXPECT_EQ(Receive(near_, 4), "back");
}

TEST(FreePort, IsAnotherOneEachTime) {
  std::set<int> ports;
  for (int i = 0; i < 300; ++i) ports.insert(FreePort().value());
  EXPECT_EQ(ports.size(), 300u);
}

TEST(HasConnection, TellsWhoseItIs) {
  EXPECT_FALSE(HasConnection(getpid(), 1, 2));
  EXPECT_FALSE(HasConnection(1 << 30, 1, 2));
}

TEST_F(NetworkTest, OnlyTheLinkOfTheCallerIsCut) {
  network_.Set(2, 1, LinkState::kReset);
  Connect();
  Accept();
  Send(near_, "there");
  EXPECT_EQ(Receive(far_, 5), "there");
}

TEST_F(NetworkTest, MuchGoesThroughWhole) {
  Connect();
  Accept();
  std::string much;
  for (int i = 0; much.size() < (1 << 20); ++i) much += std::to_string(i) + ",";
  std::thread sender([&] { Send(near_, much); });
  EXPECT_EQ(Receive(far_, much.size()), much);
  sender.join();
}

TEST_F(NetworkTest, ASilentLinkKeepsItsBytesUntilItIsHealed) {
  Connect();
  Accept();
  network_.Set(0, 1, LinkState::kStalled);
  Send(near_, "late");
  EXPECT_FALSE(Comes(far_, 100));
  network_.Heal();
  EXPECT_EQ(Receive(far_, 4), "late");
}

TEST_F(NetworkTest, ASilentLinkTakesNoCalls) {
  network_.Set(0, 1, LinkState::kStalled);
  Connect();  // the kernel's queue takes it
  EXPECT_FALSE(Comes(listener_, 100));
  network_.Heal();
  Accept();
}

TEST_F(NetworkTest, AResetLinkEndsConnectionsAndRefusesNewOnes) {
  Connect();
  Accept();
  network_.Set(0, 1, LinkState::kReset);
  EXPECT_EQ(Receive(near_, 1), "");
  EXPECT_EQ(Receive(far_, 1), "");
  close(near_);
  Connect();
  EXPECT_EQ(Receive(near_, 1), "");
}

TEST_F(NetworkTest, DelayedBytesComeLaterAndInOrder) {
  Connect();
  Accept();
  network_.Delay(0, 1, std::chrono::milliseconds(200));
  const auto begin = std::chrono::steady_clock::now();
  Send(near_, "a");
  Send(near_, "b");
  EXPECT_EQ(Receive(far_, 2), "ab");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(200));
}

TEST_F(NetworkTest, TheEndOfOneSideIsTheEndOfTheOther) {
  Connect();
  Accept();
  close(far_);
  far_ = -1;
  EXPECT_EQ(Receive(near_, 1), "");
}

}  // namespace
}  // namespace raftkv::torture
