// Changes files as it is told, one word a step, and ends without any clean-up: shim_test.cc cuts
// the power then. Words: write:FILE:TEXT, at:FILE:OFFSET:TEXT, empty:FILE, sync:FILE, syncdir,
// rename:FROM:TO, link:FROM:TO, delete:FILE, allocate:FILE:SIZE, fill:FILE (until the disk is
// full), clock.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>
#include <vector>

namespace {

std::string directory;
std::map<std::string, int> files;

std::vector<std::string> Split(const std::string& word) {
  std::vector<std::string> parts(1);
  for (const char c : word) {
    if (c == ':') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string Path(const std::string& name) { return directory + "/" + name; }

int File(const std::string& name) {
  const auto it = files.find(name);
  if (it != files.end()) return it->second;
  return files[name] = open(Path(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

bool Do(const std::vector<std::string>& step) {
  const std::string& what = step[0];
  if (what == "write") {
    const int fd = File(step[1]);
    lseek(fd, 0, SEEK_END);
    return write(fd, step[2].data(), step[2].size()) == static_cast<ssize_t>(step[2].size());
  }
  if (what == "at") {
    return pwrite(File(step[1]), step[3].data(), step[3].size(), std::atoi(step[2].c_str())) ==
           static_cast<ssize_t>(step[3].size());
  }
  if (what == "empty") {
    return open(Path(step[1]).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) >= 0;
  }
  if (what == "sync") return fdatasync(File(step[1])) == 0;
  if (what == "syncdir") {
    const int fd = open(directory.c_str(), O_RDONLY | O_CLOEXEC);
    return fsync(fd) == 0 && close(fd) == 0;
  }
  if (what == "rename") return rename(Path(step[1]).c_str(), Path(step[2]).c_str()) == 0;
  if (what == "link") return link(Path(step[1]).c_str(), Path(step[2]).c_str()) == 0;
  if (what == "allocate") {
    return fallocate(File(step[1]), 0, 0, std::atoi(step[2].c_str())) == 0 &&
           posix_fallocate(File(step[1]), 0, 1) == 0;
  }
  if (what == "delete") return unlink(Path(step[1]).c_str()) == 0;
  if (what == "fill") {
    const std::string bytes(4096, 'f');
    while (write(File(step[1]), bytes.data(), bytes.size()) > 0) {
    }
    return errno == ENOSPC;
  }
  if (what == "clock") return std::printf("%lld\n", static_cast<long long>(time(nullptr))) > 0;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  directory = argv[1];
  for (int i = 2; i < argc; ++i) {
    if (!Do(Split(argv[i]))) {
      std::fprintf(stderr, "shim_probe: %s did not work\n", argv[i]);
      return 1;
    }
  }
  std::fflush(stdout);
  _exit(0);
}
