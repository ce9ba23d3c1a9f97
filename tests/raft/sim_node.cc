#include "raft/sim_node.h"

#include <utility>

#include "common/check.h"

namespace raftkv::raft {

SimNode::SimNode(const Options& options, SimDisk disk)
    : options_(options), disk_(std::move(disk)) {}

void SimNode::Start(Index applied, uint64_t seed) {
  applied_.resize(applied - disk_.start().index);
  synced_ = reported_ = 0;
  core_ = std::make_unique<Core>(options_, disk_.Load(applied), disk_, Rng(seed));
}

void SimNode::Crash(size_t keep) {
  core_.reset();
  apply_.clear();
  disk_.Crash(keep);
}

Output SimNode::Collect() {
  Output output = core_->TakeOutput();
  if (output.append) disk_.Submit(*output.append);
  if (output.apply) apply_.push_back(*output.apply);
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

std::vector<Entry> SimNode::ApplyNext() {
  std::vector<Entry> entries = std::move(apply_.front().entries);
  apply_.pop_front();
  for (const Entry& entry : entries) {
    RAFTKV_CHECK(entry.index == applied_index() + 1, "applied out of order");
    RAFTKV_CHECK(disk_.TermAt(entry.index) == entry.term, "applied before it was durable");
    applied_.push_back(entry);
  }
  core_->OnApplied(applied_index());
  return entries;
}

}  // namespace raftkv::raft
