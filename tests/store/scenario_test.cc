// Runs tests/store/scenarios/*.txt: commands, each followed by what it answers, in lines that start
// with "> ". RAFTKV_REWRITE=1 writes the answers of this build into the files.
//
//   put KEY VALUE [prev_kv] [ignore_value] [ignore_lease] [lease=N]
//   get KEY [END] [rev=N] [limit=N] [order=descend] [target=version] [keys_only] [count_only]
//       [min_mod=N] [max_mod=N] [min_create=N] [max_create=N]
//   del KEY [END] [prev_kv]
//   txn            a TxnRequest in protobuf text format on the following indented lines
//   compact N
//   step [N]       removes old versions, looking at N changes
//   steps          removes all there is to remove
//   as CLIENT SEQUENCE COMMAND...   one of put, del, txn, compact, in a session
//   time MS        the leader's clock from here on
//   batch / apply  commands in between are applied in one batch
//   versions / index / sessions     what is stored
//   crash          closes without a flush, opens, replays
//   applied        the applied record
//
// Keys and values may contain \xNN; "" is empty.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "common/coding.h"
#include "store/mvcc.h"
#include "store/store_harness.h"
#include "store/validate.h"

namespace raftkv::store {
namespace {

using etcdserverpb::RangeRequest;

std::string Unescape(const std::string& token) {
  if (token == "\"\"") return "";
  std::string out;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token.compare(i, 2, "\\x") == 0 && i + 3 < token.size()) {
      out.push_back(static_cast<char>(std::stoi(token.substr(i + 2, 2), nullptr, 16)));
      i += 3;
    } else {
      out.push_back(token[i]);
    }
  }
  return out;
}

std::vector<std::string> Split(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

std::string Show(const std::string& bytes) { return bytes.empty() ? "\"\"" : Printable(bytes); }

class Runner {
 public:
  // The file with the answers of this build.
  std::string Run(const std::string& text) {
    std::istringstream in(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with(">")) lines.push_back(line);
    }
    for (size_t i = 0; i < lines.size(); ++i) {
      const std::string& line = lines[i];
      out_ += line + "\n";
      if (line.empty() || line[0] == '#') continue;
      std::string block;
      while (i + 1 < lines.size() && lines[i + 1].starts_with("  ")) {
        out_ += lines[i + 1] + "\n";
        block += lines[++i] + "\n";
      }
      Command(Split(line), block);
    }
    return out_;
  }

 private:
  void Say(const std::string& line) { out_ += "> " + line + "\n"; }

  void Command(std::vector<std::string> words, const std::string& block) {
    session_ = {};
    if (words[0] == "as") {
      session_ = {words.at(1), std::stoull(words.at(2))};
      words.erase(words.begin(), words.begin() + 3);
    }
    const std::string verb = words[0];
    words.erase(words.begin());
    if (verb == "put") return Put(words);
    if (verb == "get") return Get(words);
    if (verb == "del") return Delete(words);
    if (verb == "txn") return Txn(block);
    if (verb == "compact") return Compact(words);
    if (verb == "step" || verb == "steps") return Step(words, verb == "steps");
    if (verb == "time") return void(time_ms_ = std::stoull(words.at(0)));
    if (verb == "batch") return void(batching_ = true);
    if (verb == "apply") return ApplyBatch();
    if (verb == "crash") return Crash();
    if (verb == "applied") return SayApplied();
    if (verb == "versions") return SayVersions();
    if (verb == "index") return SayIndex();
    if (verb == "sessions") return SaySessions();
    if (verb == "limits") return Limits(words);
    Say("unknown command " + verb);
  }

  // Takes "name=value" or "name" off `words`.
  static std::string Option(std::vector<std::string>* words, const std::string& name,
                            const std::string& otherwise) {
    for (auto it = words->begin(); it != words->end(); ++it) {
      if (*it != name && !it->starts_with(name + "=")) continue;
      const std::string value = *it == name ? "1" : it->substr(name.size() + 1);
      words->erase(it);
      return value;
    }
    return otherwise;
  }
  static int64_t Number(std::vector<std::string>* words, const std::string& name) {
    return std::stoll(Option(words, name, "0"));
  }

  template <typename Request>
  void Propose(CommandType type, const Request& request) {
    if constexpr (requires { Validate(request); }) {
      if (const Status status = Validate(request); !status.ok()) return Say(status.ToString());
    }
    node_.Append(type, request, session_, time_ms_);
    if (!batching_) ApplyBatch();
  }

  void Limits(const std::vector<std::string>& words) {
    node_.AppendSessionLimits({std::stoull(words.at(0)), std::stoull(words.at(1))});
    if (!batching_) ApplyBatch();
  }

  void ApplyBatch() {
    batching_ = false;
    for (const ApplyResult& result : node_.ApplyPending()) SayResult(result);
  }

  void SayResult(const ApplyResult& result) {
    const std::string again = result.from_session ? " (first answer)" : "";
    if (!result.status.ok()) return Say(result.status.ToString() + again);
    std::visit(
        [&](const auto& response) {
          using T = std::decay_t<decltype(response)>;
          if constexpr (std::is_same_v<T, std::monostate>) {
            Say("ok" + again);
          } else if constexpr (std::is_same_v<T, etcdserverpb::AlarmResponse>) {
            Say("ok alarms=" + std::to_string(response.alarms_size()) + again);
          } else {
            SayResponse(response, again, "");
          }
        },
        result.response);
  }

  static std::string Rev(const etcdserverpb::ResponseHeader& header) {
    return "rev=" + std::to_string(header.revision());
  }
  void SayKv(const mvccpb::KeyValue& kv, const std::string& indent, const char* what = "") {
    std::ostringstream line;
    line << indent << what << Show(kv.key()) << " = " << Show(kv.value())
         << "  create=" << kv.create_revision() << " mod=" << kv.mod_revision()
         << " version=" << kv.version();
    if (kv.lease() != 0) line << " lease=" << kv.lease();
    Say(line.str());
  }
  void SayResponse(const etcdserverpb::PutResponse& r, const std::string& again,
                   const std::string& indent) {
    Say(indent + "put " + Rev(r.header()) + again);
    if (r.has_prev_kv()) SayKv(r.prev_kv(), indent + "  ", "was ");
  }
  void SayResponse(const etcdserverpb::DeleteRangeResponse& r, const std::string& again,
                   const std::string& indent) {
    Say(indent + "deleted " + std::to_string(r.deleted()) + " " + Rev(r.header()) + again);
    for (const auto& kv : r.prev_kvs()) SayKv(kv, indent + "  ", "was ");
  }
  void SayResponse(const etcdserverpb::CompactionResponse& r, const std::string& again,
                   const std::string& indent) {
    Say(indent + "compacted " + Rev(r.header()) + again);
  }
  void SayResponse(const etcdserverpb::RangeResponse& r, const std::string& again,
                   const std::string& indent) {
    Say(indent + "count=" + std::to_string(r.count()) + (r.more() ? " more " : " ") +
        Rev(r.header()) + again);
    for (const auto& kv : r.kvs()) SayKv(kv, indent + "  ");
  }
  void SayResponse(const etcdserverpb::TxnResponse& r, const std::string& again,
                   const std::string& indent) {
    Say(indent + (r.succeeded() ? "txn succeeded " : "txn failed ") + Rev(r.header()) + again);
    for (const auto& op : r.responses()) {
      if (op.has_response_put()) SayResponse(op.response_put(), "", indent + "  ");
      if (op.has_response_range()) SayResponse(op.response_range(), "", indent + "  ");
      if (op.has_response_delete_range()) {
        SayResponse(op.response_delete_range(), "", indent + "  ");
      }
      if (op.has_response_txn()) SayResponse(op.response_txn(), "", indent + "  ");
    }
  }

  void Put(std::vector<std::string> words) {
    etcdserverpb::PutRequest request;
    request.set_prev_kv(Number(&words, "prev_kv") != 0);
    request.set_ignore_value(Number(&words, "ignore_value") != 0);
    request.set_ignore_lease(Number(&words, "ignore_lease") != 0);
    request.set_lease(Number(&words, "lease"));
    request.set_key(Unescape(words.at(0)));
    if (words.size() > 1) request.set_value(Unescape(words[1]));
    Propose(CommandType::kPut, request);
  }

  void Get(std::vector<std::string> words) {
    RangeRequest request;
    request.set_revision(Number(&words, "rev"));
    request.set_limit(Number(&words, "limit"));
    request.set_keys_only(Number(&words, "keys_only") != 0);
    request.set_count_only(Number(&words, "count_only") != 0);
    request.set_min_mod_revision(Number(&words, "min_mod"));
    request.set_max_mod_revision(Number(&words, "max_mod"));
    request.set_min_create_revision(Number(&words, "min_create"));
    request.set_max_create_revision(Number(&words, "max_create"));
    RangeRequest::SortOrder order = RangeRequest::NONE;
    RangeRequest::SortTarget target = RangeRequest::KEY;
    auto upper = [](std::string s) {
      for (char& c : s) c = static_cast<char>(std::toupper(c));
      return s;
    };
    ASSERT_TRUE(RangeRequest::SortOrder_Parse(upper(Option(&words, "order", "none")), &order));
    ASSERT_TRUE(RangeRequest::SortTarget_Parse(upper(Option(&words, "target", "key")), &target));
    request.set_sort_order(order);
    request.set_sort_target(target);
    request.set_key(Unescape(words.at(0)));
    if (words.size() > 1) request.set_range_end(Unescape(words[1]));
    if (const Status status = Validate(request); !status.ok()) return Say(status.ToString());
    const auto response = node_.store().Range(request);
    if (!response.ok()) return Say(response.status().ToString());
    SayResponse(*response, "", "");
  }

  void Delete(std::vector<std::string> words) {
    etcdserverpb::DeleteRangeRequest request;
    request.set_prev_kv(Number(&words, "prev_kv") != 0);
    request.set_key(Unescape(words.at(0)));
    if (words.size() > 1) request.set_range_end(Unescape(words[1]));
    Propose(CommandType::kDeleteRange, request);
  }

  void Txn(const std::string& block) {
    const auto request = Proto<etcdserverpb::TxnRequest>(block);
    if (!IsReadOnly(request) || session_.present()) return Propose(CommandType::kTxn, request);
    if (const Status status = Validate(request); !status.ok()) return Say(status.ToString());
    const auto response = node_.store().ReadOnlyTxn(request);
    if (!response.ok()) return Say(response.status().ToString());
    SayResponse(*response, " (read)", "");
  }

  void Compact(const std::vector<std::string>& words) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(std::stoll(words.at(0)));
    Propose(CommandType::kCompact, request);
  }

  void Step(const std::vector<std::string>& words, bool all) {
    const size_t entries = words.empty() ? 1000 : std::stoull(words[0]);
    bool more = false;
    do {
      more = node_.store().CompactStep(entries);
    } while (all && more);
    Say(std::string(more ? "more" : "done") +
        " compacted_to=" + std::to_string(node_.store().applied().compacted_to));
  }

  void Crash() {
    const uint64_t before = node_.last_index();
    node_.Crash();
    Say("replayed " + std::to_string(before - node_.store().applied().position.index.value()) +
        " of " + std::to_string(before));
    node_.Replay();
  }

  void SayApplied() {
    const AppliedRecord r = node_.store().applied();
    std::ostringstream line;
    line << "index=" << r.position.index << " rev=" << r.revision
         << " compact=" << r.compact_revision << " compacted_to=" << r.compacted_to
         << " time=" << r.time_ms << " sessions=" << r.sessions;
    Say(line.str());
  }

  void SayVersions() {
    for (const auto& [key, value] : node_.RawContent()) {
      if (key[0] != kDataKind) continue;
      std::string user_key;
      Revision revision;
      DataRecord record;
      ASSERT_TRUE(DecodeDataKey(key, &user_key, &revision).ok());
      ASSERT_TRUE(DecodeDataRecord(key, value, &record).ok());
      const std::string at =
          " @" + std::to_string(revision.main) + "." + std::to_string(revision.sub);
      if (record.tombstone) {
        Say(Show(user_key) + at + " tombstone");
      } else {
        Say(Show(user_key) + at + " = " + Show(std::string(record.value)) + "  create=" +
            std::to_string(record.create_revision) + " version=" + std::to_string(record.version));
      }
    }
  }

  void SayIndex() {
    for (const auto& [key, value] : node_.RawContent()) {
      if (key[0] != kRevisionKind) continue;
      Revision revision;
      RevisionRecord record;
      ASSERT_TRUE(DecodeRevisionKey(key, &revision).ok());
      ASSERT_TRUE(DecodeRevisionRecord(key, value, &record).ok());
      std::ostringstream line;
      line << revision.main << "." << revision.sub << " " << (record.tombstone ? "delete " : "put ")
           << Show(std::string(record.user_key));
      if (!record.previous.none()) {
        line << " after " << record.previous.main << "." << record.previous.sub;
      }
      Say(line.str());
    }
  }

  void SaySessions() {
    for (const auto& [key, value] : node_.RawContent()) {
      if (key[0] == kSessionKind) {
        const auto record = DecodeSessionRecord(key, value);
        ASSERT_TRUE(record.ok());
        Say(key.substr(1) + " sequence=" + std::to_string(record->sequence) +
            " last_used=" + std::to_string(record->last_used_ms) + " " + record->status.ToString());
      } else if (key[0] == kSessionTimeKind) {
        uint64_t second_ms = 0;
        std::string_view client;
        ASSERT_TRUE(DecodeSessionTimeKey(key, &second_ms, &client).ok());
        Say("used in second " + std::to_string(second_ms / 1000) + ": " + std::string(client));
      }
    }
  }

  TestNode node_;
  SessionRef session_;
  uint64_t time_ms_ = 0;
  bool batching_ = false;
  std::string out_;
};

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> Scenarios() {
  std::vector<std::string> names;
  const auto dir = std::filesystem::path(RAFTKV_SOURCE_DIR) / "tests/store/scenarios";
  for (const auto& file : std::filesystem::directory_iterator(dir)) {
    if (file.path().extension() == ".txt") names.push_back(file.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Scenario : public testing::TestWithParam<std::string> {};

TEST_P(Scenario, AnswersAsWritten) {
  const auto path =
      std::filesystem::path(RAFTKV_SOURCE_DIR) / "tests/store/scenarios" / (GetParam() + ".txt");
  const std::string expected = ReadFile(path);
  const std::string actual = Runner().Run(expected);
  if (std::getenv("RAFTKV_REWRITE") != nullptr) {
    std::ofstream(path, std::ios::binary) << actual;
    return;
  }
  EXPECT_EQ(expected, actual) << "run again with RAFTKV_REWRITE=1 to accept";
}

INSTANTIATE_TEST_SUITE_P(Store, Scenario, testing::ValuesIn(Scenarios()),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace raftkv::store
