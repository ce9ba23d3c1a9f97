#include "bench/cpu_meter.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

namespace raftkv::bench {
namespace {

double SecondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

double CpuMeter::SecondsOfStat(const std::string& stat, double ticks_per_second) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  // The name was field 2; utime is field 14, stime 15.
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double utime = 0;
  double stime = 0;
  fields >> utime >> stime;
  return (utime + stime) / ticks_per_second;
}

CpuMeter::Sample CpuMeter::Read() const {
  Sample sample;
  sample.at = Clock::now();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  sample.own_seconds = SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime);
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  for (const int pid : others_) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(file, line);
    sample.others_seconds.push_back(SecondsOfStat(line, ticks));
  }
  return sample;
}

double CpuMeter::own_percent() const {
  const double wall = std::chrono::duration<double>(end_.at - begin_.at).count();
  const double processors = std::max(1U, std::thread::hardware_concurrency());
  return wall > 0 ? 100 * own_seconds() / (wall * processors) : 0;
}

std::vector<double> CpuMeter::others_seconds() const {
  std::vector<double> result;
  for (size_t i = 0; i < others_.size(); ++i) {
    // A process that ended meanwhile has nothing at the end.
    result.push_back(std::max(0.0, end_.others_seconds[i] - begin_.others_seconds[i]));
  }
  return result;
}

}  // namespace raftkv::bench
