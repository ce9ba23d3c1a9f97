// Puts keys into a cluster, in transactions that change nothing of what they did not expect.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"
#include "rpc.pb.h"
#include "tools/ctl/client.h"
#include "tools/dump/export_format.h"

namespace raftkv::tools::dump {

struct ImportCounts {
  uint64_t created = 0;
  uint64_t present = 0;      // they had this value
  uint64_t overwritten = 0;  // they had another
  uint64_t leases = 0;       // keys whose lease was left out
};

// Each transaction puts up to 128 keys if none of them has changed since they were last looked at,
// and else reads them. A transaction carries a session, so that the client may send it again, and a
// whole import may be repeated: what it finds with the right value it leaves alone.
//
// Not thread-safe; blocks.
class Importer {
 public:
  // `client` must outlive it. Without `overwrite` a key that has another value is an error.
  Importer(ctl::Client* client, bool overwrite) : client_(client), overwrite_(overwrite) {}

  // kAlreadyExists for a key that has another value; kUnavailable when the cluster does not take
  // it or the outcome is not known. After an error no more may be added.
  Status Add(ExportedKey key);
  // Puts what waits.
  Status Finish();

  const ImportCounts& counts() const { return counts_; }

 private:
  struct Pending {
    ExportedKey key;
    int64_t seen = 0;  // its mod revision in the cluster when it was last looked at; 0: none
  };

  Status Flush();
  // Puts all that waits, or learns what is in its way. True when it is done.
  StatusOr<bool> Try();
  etcdserverpb::TxnRequest MakeTxn() const;
  Status Learn(const etcdserverpb::TxnResponse& response);

  ctl::Client* const client_;
  const bool overwrite_;
  std::vector<Pending> pending_;
  size_t pending_bytes_ = 0;
  ImportCounts counts_;
};

}  // namespace raftkv::tools::dump
