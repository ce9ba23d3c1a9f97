// The expected texts are what etcdctl 3.4.23 prints for the same answers, except for the names
// response_put and so on, which are those of etcd 3.5 and later.
#include "tools/ctl/printer.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

const std::string kHeader =
    "header { cluster_id: 14841639068965178418 member_id: 10276657743932975437 revision: 7 "
    "raft_term: 2 } ";
const std::string kHeaderJson =
    R"("header":{"cluster_id":14841639068965178418,"member_id":10276657743932975437,)"
    R"("revision":7,"raft_term":2})";
const std::string kFirst =
    R"({ key: "a" value: "1" create_revision: 2 mod_revision: 5 version: 3 } )";
const std::string kSecond =
    R"({ key: "b\377\000" value: "\001<x>" create_revision: 3 mod_revision: 3 version: 1 )"
    R"(lease: 77 } )";
const std::string kFirstJson =
    R"({"key":"YQ==","create_revision":2,"mod_revision":5,"version":3,"value":"MQ=="})";
const std::string kSecondJson =
    R"({"key":"Yv8A","create_revision":3,"mod_revision":3,"version":1,"value":"ATx4Pg==",)"
    R"("lease":77})";
const std::string kBothSimple("a\n1\nb\xff\0\n\x01<x>\n", 13);

class PrinterTest : public testing::Test {
 protected:
  std::unique_ptr<Printer> simple_ = NewPrinter("simple", {}).value();
  std::unique_ptr<Printer> json_ = NewPrinter("json", {}).value();
  std::unique_ptr<Printer> table_ = NewPrinter("table", {}).value();
};

TEST_F(PrinterTest, Get) {
  const auto response = Parse<etcdserverpb::RangeResponse>(kHeader + "kvs " + kFirst + "kvs " +
                                                           kSecond + "more: true count: 9");
  EXPECT_EQ(simple_->Get(response, {}), kBothSimple);
  EXPECT_EQ(NewPrinter("simple", {.hex = true, .value_only = false}).value()->Get(response, {}),
            "\\x61\n\\x31\n\\x62\\xff\\x00\n\\x01\\x3c\\x78\\x3e\n");
  EXPECT_EQ(NewPrinter("simple", {.hex = false, .value_only = true}).value()->Get(response, {}),
            "1\n\x01<x>\n");
  EXPECT_EQ(json_->Get(response, {}), "{" + kHeaderJson + ",\"kvs\":[" + kFirstJson + "," +
                                          kSecondJson + "],\"more\":true,\"count\":9}\n");
  EXPECT_EQ(table_->Get(response, {}),
            "+-----------+---------+-----------------+--------------+---------+-------+\n"
            "|    KEY    |  VALUE  | CREATE REVISION | MOD REVISION | VERSION | LEASE |\n"
            "+-----------+---------+-----------------+--------------+---------+-------+\n"
            "|         a |       1 |               2 |            5 |       3 |     0 |\n"
            "| b\\xff\\x00 | \\x01<x> |               3 |            3 |       1 |    4d |\n"
            "+-----------+---------+-----------------+--------------+---------+-------+\n");
}

TEST_F(PrinterTest, GetNothingAndCountOnly) {
  const auto nothing = Parse<etcdserverpb::RangeResponse>(kHeader);
  EXPECT_EQ(simple_->Get(nothing, {}), "");
  EXPECT_EQ(json_->Get(nothing, {}), "{" + kHeaderJson + "}\n");
  etcdserverpb::RangeRequest count_only;
  count_only.set_count_only(true);
  EXPECT_EQ(simple_->Get(Parse<etcdserverpb::RangeResponse>("count: 3"), count_only), "3\n");
}

TEST_F(PrinterTest, PutAndDelete) {
  EXPECT_EQ(simple_->Put(Parse<etcdserverpb::PutResponse>(kHeader)), "OK\n");
  EXPECT_EQ(json_->Put(Parse<etcdserverpb::PutResponse>(kHeader)), "{" + kHeaderJson + "}\n");
  const auto put = Parse<etcdserverpb::PutResponse>(kHeader + "prev_kv " + kFirst);
  EXPECT_EQ(simple_->Put(put), "OK\na\n1\n");
  EXPECT_EQ(json_->Put(put), "{" + kHeaderJson + ",\"prev_kv\":" + kFirstJson + "}\n");
  const auto del = Parse<etcdserverpb::DeleteRangeResponse>(kHeader + "deleted: 2 prev_kvs " +
                                                            kFirst + "prev_kvs " + kSecond);
  EXPECT_EQ(simple_->Del(del), "2\n" + kBothSimple);
  EXPECT_EQ(json_->Del(del), "{" + kHeaderJson + ",\"deleted\":2,\"prev_kvs\":[" + kFirstJson +
                                 "," + kSecondJson + "]}\n");
  EXPECT_EQ(simple_->Del(Parse<etcdserverpb::DeleteRangeResponse>(kHeader)), "0\n");
}

TEST_F(PrinterTest, Txn) {
  const auto txn = Parse<etcdserverpb::TxnResponse>(
      kHeader + "succeeded: true responses { response_put { header { revision: 7 } prev_kv " +
      kFirst + "} } responses { response_range { header { revision: 7 } kvs " + kFirst + "kvs " +
      kSecond +
      "count: 2 } } responses { response_delete_range { header { revision: 7 } } } responses { "
      "response_txn { succeeded: false } }");
  EXPECT_EQ(simple_->Txn(txn), "SUCCESS\n\nOK\na\n1\n\n" + kBothSimple + "\n0\n\nFAILURE\n");
  EXPECT_EQ(
      json_->Txn(txn),
      "{" + kHeaderJson + R"(,"succeeded":true,"responses":[)" +
          R"({"Response":{"response_put":{"header":{"revision":7},"prev_kv":)" + kFirstJson +
          R"(}}},{"Response":{"response_range":{"header":{"revision":7},"kvs":[)" + kFirstJson +
          "," + kSecondJson +
          R"(],"count":2}}},{"Response":{"response_delete_range":{"header":{"revision":7}}}},)" +
          R"({"Response":{"response_txn":{}}}]})"
          "\n");
}

TEST_F(PrinterTest, MemberList) {
  const auto members = Parse<etcdserverpb::MemberListResponse>(
      kHeader +
      "members { ID: 10276657743932975437 name: 'n1' peerURLs: 'http://127.0.0.1:2380' "
      "clientURLs: 'http://127.0.0.1:23791' clientURLs: 'http://localhost:23791' } "
      "members { ID: 1 peerURLs: 'http://127.0.0.1:22380' }");
  EXPECT_EQ(simple_->MemberList(members),
            "8e9e05c52164694d, started, n1, http://127.0.0.1:2380, "
            "http://127.0.0.1:23791,http://localhost:23791, false\n"
            "1, unstarted, , http://127.0.0.1:22380, , false\n");
  EXPECT_EQ(json_->MemberList(members),
            "{" + kHeaderJson +
                R"(,"members":[{"ID":10276657743932975437,"name":"n1",)"
                R"("peerURLs":["http://127.0.0.1:2380"],)"
                R"("clientURLs":["http://127.0.0.1:23791","http://localhost:23791"]},)"
                R"({"ID":1,"peerURLs":["http://127.0.0.1:22380"]}]})"
                "\n");
  const std::string rule =
      "+------------------+-----------+------+------------------------+"
      "-----------------------------------------------+------------+\n";
  EXPECT_EQ(table_->MemberList(members),
            rule +
                "|        ID        |  STATUS   | NAME |       PEER ADDRS       |"
                "                 CLIENT ADDRS                  | IS LEARNER |\n" +
                rule +
                "| 8e9e05c52164694d |   started |   n1 |  http://127.0.0.1:2380 |"
                " http://127.0.0.1:23791,http://localhost:23791 |      false |\n"
                "|                1 | unstarted |      | http://127.0.0.1:22380 |"
                "                                               |      false |\n" +
                rule);
}

TEST_F(PrinterTest, Status) {
  const std::vector<EndpointStatus> endpoints = {
      {"127.0.0.1:23791",
       Parse<etcdserverpb::StatusResponse>(
           kHeader + "version: '3.4.23' dbSize: 20480 leader: 10276657743932975437 raftIndex: 9 "
                     "raftTerm: 2")}};
  EXPECT_EQ(simple_->Status(endpoints),
            "127.0.0.1:23791, 8e9e05c52164694d, 3.4.23, 20 kB, true, false, 2, 9, 0, \n");
  EXPECT_EQ(json_->Status(endpoints),
            R"([{"Endpoint":"127.0.0.1:23791","Status":{)" + kHeaderJson +
                R"(,"version":"3.4.23","dbSize":20480,"leader":10276657743932975437,)"
                R"("raftIndex":9,"raftTerm":2}}])"
                "\n");
}

TEST_F(PrinterTest, Health) {
  const std::vector<EndpointHealth> endpoints = {{"a:1", true, 1388, ""},
                                                 {"b:2", false, 9, "down"}};
  EXPECT_EQ(simple_->Health(endpoints),
            "a:1 is healthy: successfully committed proposal: took = 1.388ms\n"
            "b:2 is unhealthy: failed to commit proposal: down\n");
  EXPECT_EQ(json_->Health(endpoints),
            R"([{"endpoint":"a:1","health":true,"took":"1.388ms"},)"
            R"({"endpoint":"b:2","health":false,"took":"0.009ms","error":"down"}])"
            "\n");
}

TEST_F(PrinterTest, CompactAndMoveLeader) {
  EXPECT_EQ(simple_->Compact({}, 3), "compacted revision 3\n");
  EXPECT_EQ(simple_->MoveLeader({}, 0x8e9e05c52164694d, 1),
            "Leadership transferred from 8e9e05c52164694d to 1\n");
}

TEST_F(PrinterTest, MemberChanges) {
  const std::string members = "members { ID: 177 peerURLs: 'http://h:1' isLearner: true }";
  const std::string members_json =
      R"("members":[{"ID":177,"peerURLs":["http://h:1"],"isLearner":true}])";
  const auto added = Parse<etcdserverpb::MemberAddResponse>(
      kHeader + "member { ID: 177 peerURLs: 'http://h:1' isLearner: true } " + members);
  const std::string added_text =
      "Member b1 added to cluster cdf818194e3a8c32\n\n"
      "Start it, with an empty data directory:\n  raftkvd \\\n    --name=n4 \\\n    --x=y\n";
  EXPECT_EQ(simple_->MemberAdd(added, {"--name=n4", "--x=y"}), added_text);
  EXPECT_EQ(table_->MemberAdd(added, {"--name=n4", "--x=y"}), added_text);
  EXPECT_EQ(json_->MemberAdd(added, {"--name=n4", "--x=y"}),
            "{" + kHeaderJson +
                R"(,"member":{"ID":177,"peerURLs":["http://h:1"],"isLearner":true},)" +
                members_json + R"(,"raftkvd_flags":["--name=n4","--x=y"]})" + "\n");

  const std::string changed_json = "{" + kHeaderJson + "," + members_json + "}\n";
  const auto removed = Parse<etcdserverpb::MemberRemoveResponse>(kHeader + members);
  EXPECT_EQ(simple_->MemberRemove(removed, 0xa2),
            "Member a2 removed from cluster cdf818194e3a8c32\n");
  EXPECT_EQ(json_->MemberRemove(removed, 0xa2), changed_json);
  const auto promoted = Parse<etcdserverpb::MemberPromoteResponse>(kHeader + members);
  EXPECT_EQ(simple_->MemberPromote(promoted, 0xa2),
            "Member a2 promoted in cluster cdf818194e3a8c32\n");
  EXPECT_EQ(json_->MemberPromote(promoted, 0xa2), changed_json);
  const auto updated = Parse<etcdserverpb::MemberUpdateResponse>(kHeader + members);
  EXPECT_EQ(table_->MemberUpdate(updated, 0xa2), "Member a2 updated in cluster cdf818194e3a8c32\n");
  EXPECT_EQ(json_->MemberUpdate(updated, 0xa2), changed_json);
}

TEST_F(PrinterTest, Alarms) {
  const auto alarms = Parse<etcdserverpb::AlarmResponse>(
      kHeader + "alarms { memberID: 10276657743932975437 alarm: NOSPACE } " +
      "alarms { memberID: 162 alarm: CORRUPT }");
  const std::string text = "memberID:8e9e05c52164694d alarm:NOSPACE\nmemberID:a2 alarm:CORRUPT\n";
  EXPECT_EQ(simple_->Alarms(alarms), text);
  EXPECT_EQ(table_->Alarms(alarms), text);
  EXPECT_EQ(json_->Alarms(alarms), "{" + kHeaderJson +
                                       R"(,"alarms":[{"memberID":10276657743932975437,"alarm":1},)"
                                       R"({"memberID":162,"alarm":2}]})"
                                       "\n");
  const auto none = Parse<etcdserverpb::AlarmResponse>(kHeader);
  EXPECT_EQ(simple_->Alarms(none), "");
  EXPECT_EQ(json_->Alarms(none), "{" + kHeaderJson + "}\n");
}

TEST_F(PrinterTest, Defragment) {
  const auto response = Parse<etcdserverpb::DefragmentResponse>(kHeader);
  EXPECT_EQ(simple_->Defragment(response, "h:1"), "Finished defragmenting member[h:1]\n");
  EXPECT_EQ(table_->Defragment(response, "h:1"), "Finished defragmenting member[h:1]\n");
  EXPECT_EQ(json_->Defragment(response, "h:1"), "{" + kHeaderJson + R"(,"Endpoint":"h:1"})" + "\n");
}

TEST_F(PrinterTest, HashKv) {
  const std::vector<EndpointHash> hashes = {
      {"h:1", 6, Parse<etcdserverpb::HashKVResponse>(kHeader + "hash: 99 compact_revision: 3")},
      {"h:2", 6, Parse<etcdserverpb::HashKVResponse>(kHeader + "hash: 4294967295")}};
  EXPECT_EQ(simple_->HashKv(hashes), "h:1, 99, 6\nh:2, 4294967295, 6\n");
  EXPECT_EQ(json_->HashKv(hashes), R"([{"Endpoint":"h:1","HashKV":{)" + kHeaderJson +
                                       R"(,"hash":99,"compact_revision":3,"hash_revision":6}},)" +
                                       R"({"Endpoint":"h:2","HashKV":{)" + kHeaderJson +
                                       R"(,"hash":4294967295,"hash_revision":6}}])" + "\n");
  EXPECT_EQ(table_->HashKv(hashes),
            "+----------+------------+---------------+\n"
            "| ENDPOINT |    HASH    | HASH REVISION |\n"
            "+----------+------------+---------------+\n"
            "|      h:1 |         99 |             6 |\n"
            "|      h:2 | 4294967295 |             6 |\n"
            "+----------+------------+---------------+\n");
}

TEST_F(PrinterTest, Snapshots) {
  const SnapshotSummary snapshot{0xc1, 7, 3, 12, 4096, std::string("\x01\xab\x00\xff", 4) + "rest"};
  EXPECT_EQ(simple_->SnapshotSaved(snapshot, "f.db"), "Snapshot saved at f.db\n");
  EXPECT_EQ(table_->SnapshotSaved(snapshot, "f.db"), "Snapshot saved at f.db\n");
  EXPECT_EQ(simple_->SnapshotStatus(snapshot), "01ab00ff, 7, 3, 4.1 kB, 12, c1\n");
  EXPECT_EQ(table_->SnapshotStatus(snapshot),
            "+----------+----------+------------+------------+---------+---------+\n"
            "|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | RECORDS | CLUSTER |\n"
            "+----------+----------+------------+------------+---------+---------+\n"
            "| 01ab00ff |        7 |          3 |     4.1 kB |      12 |      c1 |\n"
            "+----------+----------+------------+------------+---------+---------+\n");
  EXPECT_EQ(json_->SnapshotStatus(snapshot), json_->SnapshotSaved(snapshot, "f.db"));
  EXPECT_EQ(json_->SnapshotStatus(snapshot),
            R"({"hash":27984127,"revision":7,"totalKey":3,"totalSize":4096,"records":12,)"
            R"("clusterId":193,"sha256":"01ab00ff72657374"})"
            "\n");
}

TEST_F(PrinterTest, BytesThatAreNotUtf8DoNotBreakJson) {
  etcdserverpb::MemberListResponse members;
  members.add_members()->set_name("\xff");
  EXPECT_EQ(json_->MemberList(members), "{\"members\":[{\"name\":\"\xef\xbf\xbd\"}]}\n");
}

TEST_F(PrinterTest, UnknownFormat) { EXPECT_FALSE(NewPrinter("yaml", {}).ok()); }

TEST(Text, Base64) {
  // RFC 4648, section 10.
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64(std::string("\xff\x00\xfe", 3)), "/wD+");
}

TEST(Text, EscapeKeepsByteStringsApart) {
  EXPECT_EQ(EscapeText(std::string("a\\\n\r\t\0\x7f\xff ", 9)), "a\\\\\\n\\r\\t\\x00\\x7f\\xff ");
}

TEST(Text, HumanBytes) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1500), "1.5 kB");
  EXPECT_EQ(HumanBytes(20480), "20 kB");
  EXPECT_EQ(HumanBytes(3'400'000'000), "3.4 GB");
}

TEST(Text, Durations) {
  EXPECT_EQ(ParseDurationMs("5s"), 5000u);
  EXPECT_EQ(ParseDurationMs("500ms"), 500u);
  EXPECT_EQ(ParseDurationMs("1.5m"), 90'000u);
  EXPECT_EQ(ParseDurationMs("2"), 2000u);
  for (const char* bad : {"", "s", "-1s", "0", "5 s", "5x", "nan", "inf", "1e300s"}) {
    EXPECT_FALSE(ParseDurationMs(bad)) << bad;
  }
}

}  // namespace
}  // namespace raftkv::tools::ctl
