// The network of a simulated cluster: late, lossy, repeating, partitioned.
#include <memory>
#include <utility>

#include "sim/host.h"

namespace raftkv::sim {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdull;
}

}  // namespace

uint64_t Cluster::Latency() { return rng_.Between(100, 2000); }

void Cluster::Send(raft::Message message) {
  ++summary_.messages;
  const std::pair<NodeId, NodeId> link{message.from, message.to};
  uint64_t delay = Latency();
  if (!calm_) {
    if (!Reaches(link.first, link.second)) return;
    if (RngOf(Fault::kMessageLoss).Percent(plan_.of(Fault::kMessageLoss))) {
      Happened(Fault::kMessageLoss);
      return;
    }
    if (now_ < flaky_until_ && RngOf(Fault::kFlaky).Percent(50)) return;
    Rng& slow = RngOf(Fault::kSlowMessage);
    if (slow.Percent(plan_.of(Fault::kSlowMessage))) {
      Happened(Fault::kSlowMessage);
      delay += slow.Below(slow.Percent(10) ? 10'000'000 : 500'000);
    }
    if (RngOf(Fault::kDuplicate).Percent(plan_.of(Fault::kDuplicate))) {
      Happened(Fault::kDuplicate);
      At(delay + RngOf(Fault::kDuplicate).Below(1'000'000),
         [this, copy = message]() mutable { Deliver(std::move(copy)); });
    }
  }
  At(delay, [this, message = std::move(message)]() mutable { Deliver(std::move(message)); });
}

void Cluster::Deliver(raft::Message message) {
  Host* const to = HostOf(message.to);
  if (to == nullptr || !to->node.up() || !Reaches(message.from, message.to)) return;
  if (to->paused_until > now_) {
    On(to, to->paused_until - now_,
       [this, to, message = std::move(message)] { to->node.Step(message); });
    return;
  }
  summary_.hash = Mix(Mix(summary_.hash, message.from.value()), message.to.value());
  summary_.hash = Mix(Mix(summary_.hash, message.term.value()), message.body.index());
  if (trace_) Trace(raft::ToString(message));
  Do(to, [to, &message] { to->node.Step(std::move(message)); });
}

// Made after a while, on its way for a while, and answered to the sender, all of which may fail.
void Cluster::SendSnapshot(Host* from, NodeId to) {
  const auto report = [this, from, to](Index last) {
    On(from, Latency(), [from, to, last] { from->node.OnSnapshotSent(to, last); });
  };
  On(from, rng_.Between(1000, 100'000), [this, from, to, report] {
    StatusOr<SnapshotData> data = from->node.MakeSnapshot(++last_snapshot_);
    if (!data.ok()) {
      if (data.status().code() != Code::kFailedPrecondition) {
        throw DiskFailed(data.status().message());
      }
      report(Index());
      return;
    }
    const bool lost = !Reaches(from->node.id(), to) ||
                      (!calm_ && RngOf(Fault::kMessageLoss).Percent(plan_.of(Fault::kMessageLoss)));
    Host* const receiver = HostOf(to);
    if (lost || receiver == nullptr || !receiver->node.up()) {
      report(Index());
      return;
    }
    Trace("snapshot to " + std::to_string(data->last.value()) + " for node " +
          std::to_string(to.value()));
    // Should the receiver crash meanwhile, the sender must hear that it failed.
    At(rng_.Between(1000, 500'000), [this, from, receiver, epoch = receiver->epoch, report,
                                     snapshot = std::make_shared<SnapshotData>(*std::move(data))] {
      if (receiver->epoch != epoch || !receiver->node.up()) {
        report(Index());
        return;
      }
      Do(receiver, [this, from, receiver, report, snapshot] {
        const Status taken = receiver->node.TakeSnapshot(from->node.id(), *snapshot);
        if (!taken.ok()) {
          report(Index());
          throw DiskFailed("taking a snapshot in: " + taken.message());
        }
        ++summary_.snapshots;
        report(snapshot->last);
      });
    });
  });
}

}  // namespace raftkv::sim
