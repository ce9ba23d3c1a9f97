#include "torture/cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

namespace raftkv::torture {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLogTailBytes = 3000;
constexpr char kFiller[] = "/filler";
constexpr char kSmallDiskOptions[] = "size=96m";
// A write that failed while the disk was full ends the node within this time.
constexpr std::chrono::seconds kFullDiskEndsWithin{30};

Status Failed(const std::string& what) {
  return {Code::kIoError, "can't " + what + ": " + std::strerror(errno)};
}

std::string ReadFrom(const std::string& path, size_t offset) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Url(int port) { return "http://127.0.0.1:" + std::to_string(port); }

}  // namespace

StatusOr<std::unique_ptr<Cluster>> Cluster::Make(const Options& options,
                                                 const std::string& directory,
                                                 const std::string& shim) {
  std::unique_ptr<Cluster> cluster(new Cluster(options, shim));
  for (int i = 0; i < options.nodes; ++i) {
    RAFTKV_RETURN_IF_ERROR(cluster->MakeNode(i, directory));
  }
  for (int i = 0; i < options.nodes; ++i) {
    Node& node = cluster->node(i);
    RAFTKV_ASSIGN_OR_RETURN(node.proxied_port, cluster->network_.Add(i, node.peer_port));
  }
  return cluster;
}

Cluster::Cluster(const Options& options, std::string shim)
    : options_(options),
      shim_(std::move(shim)),
      network_([this](int from, int to) { return CallerAt(from, to); }) {}

std::optional<int> Cluster::CallerAt(int from_port, int to_port) const {
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    const pid_t pid = nodes_[i]->process.pid();
    if (pid > 0 && HasConnection(pid, from_port, to_port)) return i;
  }
  return std::nullopt;
}

Cluster::~Cluster() {
  for (auto& node : nodes_) {
    node->process.Kill();
    if (node->small_disk) umount2(node->directory.c_str(), MNT_DETACH);
    if (node->clock_offset != nullptr) munmap(node->clock_offset, sizeof *node->clock_offset);
  }
}

Status Cluster::MakeNode(int i, const std::string& directory) {
  auto node = std::make_unique<Node>();
  node->name = "n" + std::to_string(i + 1);
  node->directory = directory + "/" + node->name;
  for (int* port : {&node->client_port, &node->peer_port, &node->http_port}) {
    RAFTKV_ASSIGN_OR_RETURN(*port, FreePort());
  }
  node->endpoint = "127.0.0.1:" + std::to_string(node->client_port);
  std::error_code error;
  fs::create_directories(node->directory, error);
  if (error || !fs::is_empty(node->directory, error)) {
    return {Code::kAlreadyExists, node->directory + " can't be made, or is not empty"};
  }
  // Notes of an earlier run are of other files.
  for (const char* beside : {".undo", ".undo.new", ".clock"}) {
    fs::remove(node->directory + beside, error);
  }
  nodes_.push_back(std::move(node));
  return PrepareDirectory(i);
}

Status Cluster::PrepareDirectory(int i) {
  Node* const node = nodes_[i].get();
  if (i == 0 && options_.faults.contains(Fault::kDisk)) {
    node->small_disk = mount("tmpfs", node->directory.c_str(), "tmpfs", 0, kSmallDiskOptions) == 0;
  }
  if (shim_.empty()) return Status::Ok();
  std::error_code error;
  fs::create_directories(node->directory + "/undo", error);
  return MakeClock(node);
}

Status Cluster::MakeClock(Node* node) {
  // Not in the directory: to map a page that a full disk has no room for is a SIGBUS.
  const std::string path = node->directory + ".clock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(int64_t)) != 0) return Failed("make " + path);
  void* map = mmap(nullptr, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (map == MAP_FAILED) return Failed("map " + path);
  node->clock_offset = static_cast<std::atomic<int64_t>*>(map);
  return Status::Ok();
}

std::vector<std::string> Cluster::Endpoints() const {
  std::vector<std::string> endpoints;
  for (const auto& node : nodes_) endpoints.push_back(node->endpoint);
  return endpoints;
}

int Cluster::small_disk() const {
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    if (nodes_[i]->small_disk) return i;
  }
  return -1;
}

std::vector<std::string> Cluster::Command(int i) const {
  const Node& node = *nodes_[i];
  std::string peers;
  for (const auto& peer : nodes_) {
    peers += (peers.empty() ? "" : ",") + peer->name + "=" + Url(peer->proxied_port);
  }
  std::vector<std::string> command = {
      options_.raftkvd,
      "--name=" + node.name,
      "--data-dir=" + node.directory + "/data",
      "--listen-client-urls=" + Url(node.client_port),
      "--advertise-client-urls=" + Url(node.client_port),
      "--listen-peer-urls=" + Url(node.peer_port),
      "--initial-advertise-peer-urls=" + Url(node.proxied_port),
      "--listen-http-urls=" + Url(node.http_port),
      "--advertise-http-urls=" + Url(node.http_port),
      "--initial-cluster=" + peers,
      "--initial-cluster-token=torture",
      "--initial-cluster-state=new",
      "--heartbeat-interval=50",
      "--election-timeout=500",
      // Small, so that flushes, cuts of the log and snapshots happen in a run.
      "--memtable-bytes=262144",
      "--replay-entries-max=2000",
      "--snapshot-catchup-entries=1000",
      "--corrupt-check-time-s=10",
  };
  // Every other life stops taking writes in time; the others meet the full disk in the middle of
  // one.
  if (node.small_disk) {
    command.push_back(std::string("--free-space-reserve-bytes=") +
                      (node.lives % 2 == 0 ? "16777216" : "0"));
  }
  command.insert(command.end(), options_.raftkvd_flags.begin(), options_.raftkvd_flags.end());
  return command;
}

Status Cluster::Start(int i) {
  Node& node = *nodes_[i];
  std::vector<std::string> environment;
  if (!shim_.empty()) {
    environment = {"LD_PRELOAD=" + shim_, "RAFTKV_TORTURE_DATA=" + node.directory + "/data",
                   "RAFTKV_TORTURE_LOG=" + UndoPath(i),
                   "RAFTKV_TORTURE_UNDO=" + node.directory + "/undo",
                   "RAFTKV_TORTURE_CLOCK=" + node.directory + ".clock"};
    if (options_.lying_disk) environment.push_back("RAFTKV_TORTURE_LIE=1");
  }
  node.paused = false;
  ++node.lives;
  node.log_bytes_before = LogBytes(i);
  return node.process.Start(Command(i), environment, LogPath(i));
}

void Cluster::Kill(int i) {
  nodes_[i]->process.Kill();
  nodes_[i]->paused = false;
}

void Cluster::Pause(int i) {
  nodes_[i]->process.Signal(SIGSTOP);
  nodes_[i]->paused = true;
}

void Cluster::Resume(int i) {
  nodes_[i]->process.Signal(SIGCONT);
  nodes_[i]->paused = false;
}

StatusOr<PowerCut> Cluster::CutPower(int i, Rng* rng) {
  Kill(i);
  return torture::CutPower(UndoPath(i), nodes_[i]->directory, rng);
}

void Cluster::SetClock(int i, std::chrono::nanoseconds offset) {
  nodes_[i]->clock_offset->store(offset.count());
}

Status Cluster::FillDisk(int i) {
  Node& node = *nodes_[i];
  node.log_bytes_before = LogBytes(i);
  node.full = true;
  const std::string path = node.directory + kFiller;
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Failed("open " + path);
  const std::string bytes(1 << 20, 'f');
  while (write(fd, bytes.data(), bytes.size()) > 0) {
  }
  const Status filled = errno == ENOSPC ? Status::Ok() : Failed("fill " + path);
  close(fd);
  return filled;
}

void Cluster::EmptyDisk(int i) {
  Node& node = *nodes_[i];
  unlink((node.directory + kFiller).c_str());
  if (node.full) node.full_until = std::chrono::steady_clock::now() + kFullDiskEndsWithin;
  node.full = false;
}

bool Cluster::FullDiskEnded(int i, int status) const {
  const Node& node = *nodes_[i];
  if (!node.full && std::chrono::steady_clock::now() > node.full_until) return false;
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) return false;
  const std::string log = ReadFrom(LogPath(i), node.log_bytes_before);
  for (const char* said : {"No space left on device", "start the node again"}) {
    if (log.find(said) == std::string::npos) return false;
  }
  return true;
}

Status Cluster::Heal() {
  for (int i = 0; i < size(); ++i) {
    if (nodes_[i]->clock_offset != nullptr) SetClock(i, std::chrono::nanoseconds(0));
  }
  return Mend();
}

Status Cluster::Mend() {
  network_.Heal();
  for (int i = 0; i < size(); ++i) {
    if (nodes_[i]->small_disk) EmptyDisk(i);
    if (nodes_[i]->paused) Resume(i);
    if (!nodes_[i]->process.started()) RAFTKV_RETURN_IF_ERROR(Start(i));
  }
  return Status::Ok();
}

Status Cluster::CheckRunning() {
  for (int i = 0; i < size(); ++i) {
    Node& node = *nodes_[i];
    const std::optional<int> status = node.process.Ended();
    if (!status) continue;
    if (!FullDiskEnded(i, *status)) {
      return {Code::kUnavailable, node.name + " ended by itself (" + HowItEnded(*status) +
                                      "); the end of " + LogPath(i) + ":\n" + LogTail(i)};
    }
    ++ended_by_full_disk_;
    if (!node.full) RAFTKV_RETURN_IF_ERROR(Start(i));
  }
  return Status::Ok();
}

size_t Cluster::LogBytes(int i) const {
  std::error_code error;
  const uintmax_t size = fs::file_size(LogPath(i), error);
  return error ? 0 : size;
}

std::string Cluster::LogTail(int i) const {
  const size_t size = LogBytes(i);
  return ReadFrom(LogPath(i), size > kLogTailBytes ? size - kLogTailBytes : 0);
}

Status Cluster::Stop() {
  for (auto& node : nodes_) node->process.Signal(SIGTERM);
  for (int i = 0; i < size(); ++i) {
    const std::optional<int> code = nodes_[i]->process.Stop(30);
    if (code != 0) {
      return {Code::kUnavailable, nodes_[i]->name +
                                      (code ? " ended with code " + std::to_string(*code)
                                            : " did not end within 30 s of SIGTERM") +
                                      "; the end of its log:\n" + LogTail(i)};
    }
  }
  return Status::Ok();
}

}  // namespace raftkv::torture
