#include "torture/nemesis.h"

#include <algorithm>
#include <numeric>
#include <thread>
#include <utility>

namespace raftkv::torture {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kServedWithin{20'000};
// A shorter fault is none.
constexpr milliseconds kFaultMin{200};
// Of the first round through all kinds: also a short run is to have had each of them.
constexpr uint64_t kFirstCalmMsMax = 1000;
constexpr uint64_t kFirstFaultMsMax = 2000;

milliseconds Between(Rng* rng, uint64_t low_ms, uint64_t high_ms) {
  return milliseconds(rng->Between(low_ms, high_ms));
}

template <typename T>
void Shuffle(std::vector<T>* list, Rng* rng) {
  for (size_t i = list->size(); i > 1; --i) std::swap((*list)[i - 1], (*list)[rng->Below(i)]);
}

}  // namespace

Nemesis::Nemesis(const Options& options, Cluster* cluster, Recorder* recorder,
                 std::function<void(const std::string&)> say)
    : options_(options),
      cluster_(cluster),
      recorder_(recorder),
      say_(std::move(say)),
      rng_(options.seed) {}

Fault Nemesis::Choose() {
  if (bag_.empty()) {
    first_bag_ = faults_.empty();
    bag_.assign(options_.faults.begin(), options_.faults.end());
    Shuffle(&bag_, &rng_);
  }
  const Fault fault = bag_.back();
  bag_.pop_back();
  return fault;
}

std::vector<int> Nemesis::SomeNodes(bool all_too) {
  std::vector<int> nodes(static_cast<size_t>(cluster_->size()));
  std::iota(nodes.begin(), nodes.end(), 0);
  Shuffle(&nodes, &rng_);
  const size_t majority = nodes.size() / 2 + 1;
  const size_t counts[] = {1, majority, nodes.size()};
  nodes.resize(counts[rng_.Below(all_too ? 3 : 2)]);
  return nodes;
}

std::string Nemesis::Names(const std::vector<int>& nodes) const {
  std::string names;
  for (const int i : nodes) names += (names.empty() ? "" : " ") + cluster_->node(i).name;
  return names;
}

Status Nemesis::Wait(milliseconds time, steady_clock::time_point deadline) {
  deadline = std::min(deadline, steady_clock::now() + time);
  while (steady_clock::now() < deadline) {
    RAFTKV_RETURN_IF_ERROR(cluster_->CheckRunning());
    std::this_thread::sleep_for(milliseconds(20));
  }
  return Status::Ok();
}

Status Nemesis::Round(steady_clock::time_point deadline) {
  RAFTKV_RETURN_IF_ERROR(Wait(Between(&rng_, 500, first_bag_ ? kFirstCalmMsMax : 3000), deadline));
  if (options_.faults.empty() || steady_clock::now() + kFaultMin >= deadline) return Status::Ok();
  const Fault fault = Choose();
  FaultSpan span;
  span.name = FaultName(fault);
  span.begin_ns = NowNs();
  RAFTKV_RETURN_IF_ERROR(Begin(fault, &span));
  say_(span.name + ": " + span.what);
  const Status waited =
      Wait(Between(&rng_, kFaultMin.count(), first_bag_ ? kFirstFaultMsMax : 4000), deadline);
  if (waited.ok()) RAFTKV_RETURN_IF_ERROR(cluster_->Mend());
  span.end_ns = NowNs();
  if (waited.ok()) WaitUntilServed(&span, deadline);
  faults_.push_back(std::move(span));
  return waited;
}

Status Nemesis::Begin(Fault fault, FaultSpan* span) {
  switch (fault) {
    case Fault::kKill: {
      const std::vector<int> nodes = SomeNodes(/*all_too=*/true);
      for (const int i : nodes) cluster_->Kill(i);
      span->what = Names(nodes);
      return Status::Ok();
    }
    case Fault::kPower: {
      const std::vector<int> nodes = SomeNodes(/*all_too=*/true);
      RAFTKV_RETURN_IF_ERROR(BeginPower(nodes));
      span->what = Names(nodes);
      return Status::Ok();
    }
    case Fault::kPause: {
      const std::vector<int> nodes = SomeNodes(/*all_too=*/false);
      for (const int i : nodes) cluster_->Pause(i);
      span->what = Names(nodes);
      return Status::Ok();
    }
    case Fault::kCut:
      return BeginCut(span);
    case Fault::kDelay:
      return BeginDelay(span);
    case Fault::kClock: {
      // Not as far as sessions live: a session that is forgotten can't keep its promise.
      const int node = static_cast<int>(rng_.Below(static_cast<uint64_t>(cluster_->size())));
      const auto seconds = static_cast<int64_t>(rng_.Between(1, 600)) * (rng_.Percent(50) ? 1 : -1);
      cluster_->SetClock(node, std::chrono::seconds(seconds));
      span->what = cluster_->node(node).name + " is " + std::to_string(seconds) + " s off";
      return Status::Ok();
    }
    case Fault::kDisk:
      span->what = cluster_->node(cluster_->small_disk()).name;
      return cluster_->FillDisk(cluster_->small_disk());
  }
  return Status::Ok();
}

Status Nemesis::BeginPower(const std::vector<int>& nodes) {
  // All at once, as a rack loses power: nobody hears of what another did after that.
  for (const int i : nodes) cluster_->node(i).process.Signal(9);
  for (const int i : nodes) {
    RAFTKV_ASSIGN_OR_RETURN(const PowerCut cut, cluster_->CutPower(i, &rng_));
    power_.files += cut.files;
    power_.changes += cut.changes;
    power_.kept += cut.kept;
  }
  // Proves nothing yet: once more, after the other kinds had their turn.
  if (power_.changes == 0) bag_.insert(bag_.begin(), Fault::kPower);
  return Status::Ok();
}

Status Nemesis::BeginCut(FaultSpan* span) {
  const int size = cluster_->size();
  const int node = static_cast<int>(rng_.Below(static_cast<uint64_t>(size)));
  const LinkState state = rng_.Percent(50) ? LinkState::kStalled : LinkState::kReset;
  // Both, or only those that the node makes, or only those that the others make to it.
  const uint64_t which = rng_.Below(3);
  for (int other = 0; other < size; ++other) {
    if (other == node) continue;
    if (which != 1) cluster_->network().Set(node, other, state);
    if (which != 2) cluster_->network().Set(other, node, state);
  }
  span->what = cluster_->node(node).name +
               (which == 0   ? " from and to the others"
                : which == 1 ? " from the others"
                             : " to the others") +
               (state == LinkState::kReset ? ", reset" : ", silent");
  return Status::Ok();
}

Status Nemesis::BeginDelay(FaultSpan* span) {
  const auto delay = Between(&rng_, 5, 400);
  const bool all = rng_.Percent(50);
  const int node = static_cast<int>(rng_.Below(static_cast<uint64_t>(cluster_->size())));
  for (int from = 0; from < cluster_->size(); ++from) {
    for (int to = 0; to < cluster_->size(); ++to) {
      if (from != to && (all || from == node || to == node)) {
        cluster_->network().Delay(from, to, delay);
      }
    }
  }
  span->what = (all ? "all links" : cluster_->node(node).name) + " by " +
               std::to_string(delay.count()) + " ms";
  return Status::Ok();
}

void Nemesis::WaitUntilServed(FaultSpan* span, steady_clock::time_point deadline) {
  const uint64_t before = recorder_->ok();
  deadline = std::min(deadline, steady_clock::now() + kServedWithin);
  while (recorder_->ok() <= before && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  if (recorder_->ok() > before) span->served_ns = NowNs();
}

}  // namespace raftkv::torture
