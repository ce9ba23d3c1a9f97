#include "raft/sim_node.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace raftkv::raft {

SimNode::SimNode(const Options& options, SimDisk disk)
    : options_(options), disk_(std::move(disk)) {}

void SimNode::Start(Index applied, uint64_t seed) {
  applied_index_ = std::max(applied, disk_.start().index);
  synced_ = reported_ = 0;
  ++options_.run;
  core_ = std::make_unique<Core>(options_, disk_.Load(applied_index_), disk_, Rng(seed));
}

void SimNode::Crash(size_t keep) {
  core_.reset();
  apply_.clear();
  disk_.Crash(keep);
}

Output SimNode::Collect() {
  Output output = core_->TakeOutput();
  if (output.append) disk_.Submit(*output.append);
  if (output.install || output.apply) {
    apply_.push_back({output.install, output.apply ? output.apply->entries : std::vector<Entry>()});
  }
  return output;
}

std::vector<Message> SimNode::SyncNext() {
  AppendTask task = disk_.SyncNext();
  RAFTKV_CHECK(task.seq == synced_ + 1, "writes are not numbered one by one");
  synced_ = task.seq;
  return std::move(task.after_sync);
}

void SimNode::ReportSynced() {
  reported_ = synced_;
  core_->OnAppended(reported_);
}

SimNode::Applied SimNode::ApplyNext() {
  Applied task = std::move(apply_.front());
  apply_.pop_front();
  if (task.install) {
    RAFTKV_CHECK(task.install->last.index > applied_index_, "a snapshot of what is applied");
    RAFTKV_CHECK(disk_.start().index >= task.install->last.index,
                 "a snapshot was installed before it was durable");
    applied_index_ = task.install->last.index;
  }
  for (const Entry& entry : task.entries) {
    RAFTKV_CHECK(entry.index == applied_index_ + 1, "applied out of order");
    // An entry whose log was replaced since by a snapshot was durable before.
    RAFTKV_CHECK(entry.index <= disk_.start().index || disk_.TermAt(entry.index) == entry.term,
                 "applied before it was durable");
    applied_index_ = entry.index;
  }
  core_->OnApplied(applied_index_);
  return task;
}

}  // namespace raftkv::raft
