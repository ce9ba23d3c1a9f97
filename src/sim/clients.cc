// Clients in a closed loop: each does one thing at a time, on any node, and remembers what it was
// told.
#include <algorithm>
#include <utility>

#include "sim/host.h"
#include "store/command.h"
#include "store/kv_errors.h"

namespace raftkv::sim {
namespace {

constexpr uint64_t kMillisecond = 1000;
constexpr uint64_t kTimeoutUs = 3'000'000;
constexpr uint64_t kTriesMax = 6;

}  // namespace

void Cluster::StartClients() {
  for (size_t i = 0; i < plan_.clients; ++i) {
    clients_.push_back(std::make_unique<Client>());
    Client* const client = clients_.back().get();
    client->number = i;
    client->only_reads = i + plan_.readers >= plan_.clients;
    client->with_session = rng_.Percent(60);
    At(rng_.Below(100 * kMillisecond), [this, client] { NextOperation(client); });
  }
}

void Cluster::NextOperation(Client* client) {
  if (clients_stop_ || client->busy) return;
  client->busy = true;
  client->tries = 0;
  client->proposals = 0;
  client->floor = answered_revision_;
  client->key = "k" + std::to_string(rng_.Below(plan_.keys));
  const uint64_t dice = rng_.Below(100);
  client->kind = dice >= 60 || client->only_reads ? Client::Kind::kGet
                 : dice < 40                      ? Client::Kind::kPut
                 : dice < 50                      ? Client::Kind::kSwap
                                                  : Client::Kind::kDelete;
  client->expected = known_values_[client->key];
  if (rng_.Percent(2)) Compact();
  client->value = "v" + std::to_string(++last_value_) + "-";
  client->value.resize(std::max<size_t>(client->value.size(), plan_.value_bytes), 'x');
  if (client->with_session && client->kind != Client::Kind::kGet) ++client->sequence;
  SendOperation(client);
}

// Old versions, up to a revision that clients have seen, are to go. Nobody waits for it.
void Cluster::Compact() {
  Host* const leader = Leader();
  if (leader == nullptr || answered_revision_ <= 1) return;
  etcdserverpb::CompactionRequest compact;
  compact.set_revision(1 +
                       static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(answered_revision_))));
  On(leader, Latency(), [leader, body = compact.SerializeAsString()] {
    (void)leader->node.Write(
        /*request=*/0, store::EncodeCommand(store::CommandType::kCompact, 0, {}, body),
        leader->node.clock().micros / 1000);
  });
}

// One try.
void Cluster::SendOperation(Client* client) {
  if (client->tries++ >= kTriesMax) {
    EndOperation(client);
    return;
  }
  Host* const leader = Leader();
  if (client->target.none() || (!client->only_reads && rng_.Percent(20))) {
    client->target = NodeId(1 + rng_.Below(hosts_.size()));
    if (leader != nullptr && client->only_reads && rng_.Percent(50)) {
      client->target = leader->node.id();
    }
  }
  if (leader != nullptr && client->kind != Client::Kind::kGet && rng_.Percent(80)) {
    client->target = leader->node.id();
  }
  const uint64_t request = ++last_request_;
  client->request = request;
  requests_[request] = client;
  Host* const host = HostOf(client->target);
  On(host, Latency(), [this, host, client, request] {
    if (client->request == request) TakeOperation(host, client, request);
  });
  At(kTimeoutUs, [this, client, request] {
    if (!client->busy || client->request != request) return;
    requests_.erase(request);
    client->target = NodeId();
    // Else whoever asks must live with not knowing.
    if (MayRetry(*client)) {
      SendOperation(client);
    } else {
      EndOperation(client);
    }
  });
}

// At the node.
void Cluster::TakeOperation(Host* host, Client* client, uint64_t request) {
  Status status;
  if (client->kind == Client::Kind::kGet) {
    status = host->node.ReadKey(request, client->key);
  } else {
    store::SessionRef session;
    if (client->with_session) {
      session.client = "c" + std::to_string(client->number) + "." + std::to_string(client->session);
      session.sequence = client->sequence;
    }
    store::CommandType type = store::CommandType::kPut;
    std::string body;
    if (client->kind == Client::Kind::kPut) {
      etcdserverpb::PutRequest put;
      put.set_key(client->key);
      put.set_value(client->value);
      body = put.SerializeAsString();
    } else if (client->kind == Client::Kind::kSwap) {
      etcdserverpb::TxnRequest txn;
      etcdserverpb::Compare* const compare = txn.add_compare();
      compare->set_key(client->key);
      compare->set_target(etcdserverpb::Compare::VALUE);
      compare->set_result(etcdserverpb::Compare::EQUAL);
      compare->set_value(client->expected);
      etcdserverpb::PutRequest* const put = txn.add_success()->mutable_request_put();
      put->set_key(client->key);
      put->set_value(client->value);
      txn.add_failure()->mutable_request_range()->set_key(client->key);
      body = txn.SerializeAsString();
      type = store::CommandType::kTxn;
    } else {
      etcdserverpb::DeleteRangeRequest remove;
      remove.set_key(client->key);
      body = remove.SerializeAsString();
      type = store::CommandType::kDeleteRange;
    }
    status = host->node.Write(request, store::EncodeCommand(type, request, session, body),
                              host->node.clock().micros / 1000);
    if (status.ok()) {
      ++client->proposals;
      // Nobody has heard of it yet.
      if (const uint64_t isolate = std::exchange(isolate_us_, 0); isolate > 0) {
        Isolate(host, isolate, Fault::kIsolate);
      }
    }
  }
  if (status.ok()) return;
  // Refused: nothing of it is in a log.
  requests_.erase(request);
  client->target = NodeId();
  At(Latency() + 50 * kMillisecond, [this, client, request] {
    if (client->busy && client->request == request) SendOperation(client);
  });
}

void Cluster::TakeAnswer(Client* client, const Answer& answer) {
  if (!client->busy || client->request != answer.request) return;
  const bool is_read = client->kind == Client::Kind::kGet;
  const std::string who = "client " + std::to_string(client->number);
  if (!answer.status.ok()) {
    Trace(who + " hears " + answer.status.ToString());
    const Code code = answer.status.code();
    const bool once = client->proposals == 1 && !client->with_session;
    if (code == Code::kDropped && once && client->kind != Client::Kind::kDelete) {
      checker_.NeverApplied(client->value);
    }
    if (client->with_session && answer.status == store::ErrSessionUnknown()) {
      ++client->session;
      client->sequence = 0;
    }
    if (is_read || (client->with_session && code == Code::kOutcomeUnknown && MayRetry(*client))) {
      SendOperation(client);
    } else {
      EndOperation(client);
    }
    return;
  }
  Finished operation;
  operation.is_read = is_read || !answer.succeeded;
  operation.key = client->key;
  operation.floor = client->floor;
  operation.revision = answer.revision;
  operation.node = client->target.value();
  if (operation.is_read) {
    operation.value = answer.value;
  } else if (client->kind != Client::Kind::kDelete) {
    operation.value = client->value;
  }
  if (trace_) {
    Trace(who + (operation.is_read ? " reads " : " wrote ") + client->key + " at revision " +
          std::to_string(answer.revision) + ": " +
          (operation.value ? operation.value->substr(0, 20) : "nothing"));
  }
  checker_.OnFinished(operation);
  answered_revision_ = std::max(answered_revision_, answer.revision);
  known_values_[client->key] = operation.value.value_or("");
  EndOperation(client);
}

// With the session's first write that is not so where sessions may be remembered for a shorter time
// than a client tries: forgotten, it would be a first write once more. Any later one is refused.
bool Cluster::MayRetry(const Client& client) const {
  if (client.kind == Client::Kind::kGet || client.proposals == 0) return true;
  return client.with_session && (client.sequence > 1 || plan_.of(Fault::kSessionLimits) == 0);
}

void Cluster::EndOperation(Client* client) {
  requests_.erase(client->request);
  client->busy = false;
  const uint64_t think =
      rng_.Percent(10) ? rng_.Below(2000 * kMillisecond) : rng_.Below(50 * kMillisecond);
  At(think, [this, client] { NextOperation(client); });
}

}  // namespace raftkv::sim
