#include "torture/run.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "check/history_file.h"
#include "check/picture.h"
#include "torture/cluster.h"
#include "torture/nemesis.h"
#include "torture/observer.h"
#include "torture/recorder.h"
#include "torture/report.h"
#include "torture/workload.h"

namespace raftkv::torture {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr int kExitCouldNotRun = 2;
constexpr double kStartSeconds = 60;
constexpr double kSettleSeconds = 60;
// Of so many operations of a client one is a write, if it is to get on at all.
constexpr double kOperationsWithAWrite = 20;
constexpr auto kSayEvery = std::chrono::seconds(5);
constexpr char kShimName[] = "raftkv-torture-shim.so";

std::atomic<bool> interrupted{false};

void OnSignal(int) { interrupted = true; }

std::string ProgramDirectory() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

steady_clock::time_point After(double seconds) {
  return steady_clock::now() +
         std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(seconds));
}

// A line for people, with the time. Thread-safe.
void Say(const std::string& line) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::printf("%6.1f s  %s\n", static_cast<double>(NowNs()) / 1e9, line.c_str());
  std::fflush(stdout);
}

bool WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  file.close();
  if (file.fail()) std::fprintf(stderr, "raftkv-torture: can't write %s\n", path.c_str());
  return !file.fail();
}

// Says every few seconds how many operations there were.
class Progress {
 public:
  explicit Progress(const Recorder* recorder) : recorder_(recorder), thread_([this] { Loop(); }) {}
  ~Progress() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Loop() {
    auto next = steady_clock::now() + kSayEvery;
    while (!stop_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      if (steady_clock::now() < next) continue;
      next += kSayEvery;
      Say(std::to_string(recorder_->operations()) + " operations, " +
          std::to_string(recorder_->ok()) + " succeeded");
    }
  }

  const Recorder* const recorder_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class TortureRun {
 public:
  explicit TortureRun(Options options) { report_.options = std::move(options); }

  int Go() {
    if (const Status made = Prepare(); !made.ok()) return CouldNotRun(made);
    is_started_ = true;
    if (const Status started = Start(); !started.ok()) return CouldNotRun(started);
    Break();
    Settle();
    Judge();
    return Finish();
  }

 private:
  Options& options() { return report_.options; }

  int CouldNotRun(const Status& status) {
    std::fprintf(stderr, "raftkv-torture: %s\n", status.message().c_str());
    cluster_.reset();
    std::error_code error;
    if (!temporary_.empty() && !is_started_) fs::remove_all(temporary_, error);
    return kExitCouldNotRun;
  }

  void Problem(const std::string& what) {
    Say("PROBLEM: " + what);
    report_.problems.push_back(what);
  }

  // "All" means all that can be had; one that was asked for by name must be.
  Status LeaveOut(Fault fault, const std::string& why) {
    if (options().named.contains(fault)) {
      return {Code::kInvalidArgument, "--faults " + FaultName(fault) + ": " + why};
    }
    if (options().faults.erase(fault) > 0) {
      report_.left_out.push_back(FaultName(fault) + ": " + why);
    }
    return Status::Ok();
  }

  Status Prepare() {
    struct sigaction action {};
    action.sa_handler = OnSignal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
    std::error_code error;
    if (options().directory.empty()) {
      std::string pattern = fs::temp_directory_path(error) / "raftkv-torture-XXXXXX";
      if (mkdtemp(pattern.data()) == nullptr) {
        return {Code::kIoError, "can't make a temporary directory"};
      }
      temporary_ = options().directory = pattern;
    } else {
      fs::create_directories(options().directory, error);
    }
    const std::string absolute = error ? "" : fs::canonical(options().directory, error);
    if (error) {
      return {Code::kIoError, "can't make the directory " + options().directory + ": " +
                                  error.message() + "; choose another with --dir"};
    }
    options().directory = absolute;
    if (options().history.empty()) options().history = options().directory + "/history.jsonl";
    if (options().report.empty()) options().report = options().directory + "/report";
    report_.history = options().history;
    RAFTKV_ASSIGN_OR_RETURN(recorder_, Recorder::Make(options().history));
    return options().endpoints.empty() ? MakeCluster() : Status::Ok();
  }

  Status MakeCluster() {
    if (options().raftkvd.empty()) options().raftkvd = ProgramDirectory() + "/raftkvd";
    if (access(options().raftkvd.c_str(), X_OK) != 0) {
      return {Code::kNotFound, "there is no program " + options().raftkvd + " (--raftkvd)"};
    }
    std::string shim = ProgramDirectory() + "/" + kShimName;
    if (access(shim.c_str(), R_OK) != 0) {
      shim.clear();
      const std::string why = std::string("there is no ") + kShimName + " beside this program";
      if (options().lying_disk) return {Code::kInvalidArgument, "--lying-disk: " + why};
      RAFTKV_RETURN_IF_ERROR(LeaveOut(Fault::kPower, why));
      RAFTKV_RETURN_IF_ERROR(LeaveOut(Fault::kClock, why));
    } else if (!options().faults.contains(Fault::kPower) &&
               !options().faults.contains(Fault::kClock)) {
      shim.clear();
    }
    if (options().nodes == 1) {
      for (const Fault fault : {Fault::kCut, Fault::kDelay}) {
        RAFTKV_RETURN_IF_ERROR(LeaveOut(fault, "one node has no links"));
      }
    }
    RAFTKV_ASSIGN_OR_RETURN(cluster_, Cluster::Make(options(), options().directory, shim));
    if (cluster_->small_disk() >= 0) return Status::Ok();
    return LeaveOut(Fault::kDisk, "this user may not mount a tmpfs");
  }

  Status Start() {
    Say("seed " + std::to_string(options().seed) + ", in " + options().directory);
    for (const std::string& left_out : report_.left_out) Say("left out: " + left_out);
    std::vector<std::string> names = options().endpoints;
    endpoints_ = options().endpoints;
    if (cluster_) {
      endpoints_ = cluster_->Endpoints();
      for (int i = 0; i < cluster_->size(); ++i) {
        names.push_back(cluster_->node(i).name);
        RAFTKV_RETURN_IF_ERROR(cluster_->Start(i));
      }
    }
    const Status serving = WaitUntilAllServe(endpoints_, kStartSeconds, [&] { return Watch(); });
    if (!serving.ok()) {
      if (!cluster_) return serving;
      return {serving.code(), serving.message() + "\n" + cluster_->LogTail(0)};
    }
    observer_ = std::make_unique<Observer>(endpoints_, names);
    workload_ = std::make_unique<Workload>(options(), endpoints_, recorder_.get());
    workload_->Start();
    return Status::Ok();
  }

  Status Watch() { return cluster_ ? cluster_->CheckRunning() : Status::Ok(); }

  void Break() {
    const Progress progress(recorder_.get());
    const auto deadline = After(options().seconds);
    if (!cluster_) {
      while (!interrupted && recorder_->malformed().empty() && steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
      report_.interrupted = interrupted && steady_clock::now() < deadline;
      return;
    }
    Nemesis nemesis(options(), cluster_.get(), recorder_.get(), Say);
    while (!interrupted && report_.problems.empty() && recorder_->malformed().empty() &&
           steady_clock::now() < deadline) {
      if (const Status round = nemesis.Round(deadline); !round.ok()) Problem(round.message());
    }
    report_.interrupted = interrupted && steady_clock::now() < deadline;
    report_.faults = nemesis.faults();
    report_.power = nemesis.power();
  }

  // The faults are over: everything must come back, and be the same everywhere.
  void Settle() {
    Say("the faults are over");
    if (Proven(cluster_ ? cluster_->Heal() : Status::Ok()) && Proven(WaitForProgress())) {
      workload_->Stop();
      (void)(Proven(workload_->ReadAll()) && Proven(CompareHashes(endpoints_, kSettleSeconds)));
    }
    workload_->Stop();
    observer_->Stop();
    for (const std::string& malformed : recorder_->malformed()) Problem(malformed);
    if (!observer_->two_leaders().empty()) Problem(observer_->two_leaders());
    report_.seconds = static_cast<double>(NowNs()) / 1e9;
    if (cluster_ && Proven(cluster_->CheckRunning())) (void)Proven(cluster_->Stop());
    if (cluster_) report_.ended_by_full_disk = cluster_->ended_by_full_disk();
    (void)Proven(recorder_->Close());
    report_.leaders = observer_->leader_changes();
    report_.timeline = recorder_->seconds();
    report_.errors = recorder_->errors();
  }

  // Every node serves, and every client gets a write through.
  Status WaitForProgress() {
    std::map<std::string, ClientProgress> before = recorder_->clients();
    RAFTKV_RETURN_IF_ERROR(WaitUntilAllServe(endpoints_, kSettleSeconds, [&] { return Watch(); }));
    const auto deadline =
        After(kSettleSeconds + kOperationsWithAWrite * options().clients / options().rate);
    for (int i = 0; i < options().clients;) {
      const std::string name = Workload::ClientName(i);
      std::map<std::string, ClientProgress> now = recorder_->clients();
      if (now[name].writes_ok > before[name].writes_ok) {
        ++i;
        continue;
      }
      if (steady_clock::now() > deadline) {
        return {Code::kDeadlineExceeded, "client " + name + " got no write through after the " +
                                             "faults; its last error: " + now[name].last_error};
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return Status::Ok();
  }

  // Whether there is no problem so far; what comes after one proves nothing.
  bool Proven(const Status& status) {
    if (!report_.problems.empty()) return false;
    if (!status.ok()) Problem(status.message());
    return status.ok();
  }

  void Judge() {
    check::History history = recorder_->TakeHistory();
    report_.operations = history.size();
    if (recorder_->ok() == 0) return Problem("no operation succeeded: nothing was checked");
    Say("checking " + std::to_string(history.size()) + " operations");
    check::ExpandRanges(&history);
    check::CheckOptions options;
    options.time_max =
        std::chrono::milliseconds(static_cast<int64_t>(report_.options.check_seconds * 1000));
    options.memory_bytes = report_.options.check_megabytes << 20;
    const auto begin = steady_clock::now();
    report_.check = check::Check(history, options);
    report_.check_seconds = std::chrono::duration<double>(steady_clock::now() - begin).count();
    report_.checked = true;
    if (report_.check.verdict != check::Verdict::kIllegal) return;
    for (const check::Violation& violation : report_.check.violations) {
      std::printf("%s\n", violation.why.c_str());
      for (const size_t i : violation.ops) {
        const int64_t zero = history[violation.ops[0]].invoke_ns;
        std::printf("  %s\n", check::Describe(history[i], zero).c_str());
      }
    }
    WriteFile(report_.options.report + ".violation.html",
              check::Picture(history, report_.check, report_.history));
  }

  int Finish() {
    const std::string text = TextReport(report_);
    const bool written = WriteFile(options().report + ".txt", text) &&
                         WriteFile(options().report + ".json", JsonReport(report_)) &&
                         WriteFile(options().report + ".html", HtmlReport(report_));
    std::printf("%s", text.c_str());
    cluster_.reset();  // before its directory: a small disk is mounted in it
    const int code = ExitCode(report_);
    std::error_code error;
    const bool wanted =
        options().history.starts_with(temporary_) && options().report.starts_with(temporary_);
    if (!temporary_.empty() && code == 0) {
      // The reports are what one wants to look at; the data has done its duty.
      for (int i = 1; i <= options().nodes; ++i) {
        for (const char* ending : {"", ".undo", ".clock"}) {
          fs::remove_all(temporary_ + "/n" + std::to_string(i) + ending, error);
        }
      }
      if (!wanted) fs::remove_all(temporary_, error);
    }
    if (fs::exists(options().report + ".html", error)) {
      std::printf("report: %s.html\n", options().report.c_str());
    }
    return written ? code : kExitCouldNotRun;
  }

  Report report_;
  std::string temporary_;    // empty: the directory is the user's
  bool is_started_ = false;  // there may be something to look at
  std::vector<std::string> endpoints_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<Workload> workload_;
};

}  // namespace

int Run(Options options) { return TortureRun(std::move(options)).Go(); }

}  // namespace raftkv::torture
