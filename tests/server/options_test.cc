#include "server/options.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace raftkv::server {
namespace {

StatusOr<ParsedOptions> Parse(std::vector<const char*> args) {
  args.insert(args.begin(), "raftkvd");
  return ParseOptions(static_cast<int>(args.size()), args.data());
}

void ExpectRefused(std::vector<const char*> args, const std::string& part) {
  const auto parsed = Parse(std::move(args));
  ASSERT_FALSE(parsed.ok()) << "expected a refusal that mentions: " << part;
  EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument);
  EXPECT_NE(parsed.status().message().find(part), std::string::npos) << parsed.status();
}

TEST(Options, DefaultsAreASingleNode) {
  const auto parsed = Parse({});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const ServerOptions& o = parsed->options;
  EXPECT_EQ(o.name, "default");
  EXPECT_EQ(o.data_dir, "default.raftkv");
  ASSERT_EQ(o.initial_cluster.size(), 1u);
  EXPECT_EQ(o.initial_cluster[0].id, o.id);
  EXPECT_EQ(o.listen_client_urls[0].ToString(), "http://127.0.0.1:2379");
  EXPECT_EQ(o.advertise_client_urls, o.listen_client_urls);
}

TEST(Options, MembersAgreeOnIdsWhateverTheirAddresses) {
  const auto a = Parse({"--name=n1", "--initial-cluster=n1=http://h1:1,n2=http://h2:2"});
  const auto b = Parse({"--name=n2", "--initial-cluster=n2=http://proxy:9,n1=http://h1:1"});
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->options.cluster_id, b->options.cluster_id);
  EXPECT_EQ(a->options.initial_cluster[1].id, b->options.id);
  const auto other = Parse({"--name=n1", "--initial-cluster=n1=http://h1:1,n2=http://h2:2",
                            "--initial-cluster-token=other"});
  ASSERT_TRUE(other.ok());
  EXPECT_NE(a->options.cluster_id, other->options.cluster_id);
  EXPECT_NE(a->options.id, other->options.id);
}

TEST(Options, MembersOnOneMachineDifferInPorts) {
  EXPECT_TRUE(
      Parse({"--name=n1", "--initial-cluster=n1=http://127.0.0.1:1,n2=http://127.0.0.1:2"}).ok());
}

// So that a node which was told nothing asks its cluster for nothing.
TEST(Options, SessionLimitsAreAskedForOnlyWhereTheyAreGiven) {
  const auto none = Parse({});
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->options.session_ttl_ms || none->options.max_sessions);
  const auto one = Parse({"--session-ttl=3600000"});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->options.session_ttl_ms, 3'600'000u) << "also where it is the default";
  EXPECT_FALSE(one->options.max_sessions);
  const auto both = Parse({"--session-ttl=1000", "--max-sessions=1"});
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both->options.session_ttl_ms, 1'000u);
  EXPECT_EQ(both->options.max_sessions, 1u);
}

TEST(Options, BadInputSaysWhatToDo) {
  ExpectRefused({"--no-such-flag"}, "no-such-flag");
  ExpectRefused({"--listen-client-urls=127.0.0.1:1"}, "http://");
  ExpectRefused({"--listen-client-urls=https://127.0.0.1:1"}, "TLS");
  ExpectRefused({"--listen-client-urls=http://127.0.0.1"}, "port");
  ExpectRefused({"--listen-peer-urls=http://127.0.0.1:99999"}, "port");
  ExpectRefused({"--listen-peer-urls=,"}, "at least one");
  ExpectRefused({"--initial-cluster=n1=http://a:1"}, "does not name this node");
  ExpectRefused({"--name=n1", "--initial-cluster=n1=http://a:1,n1=http://b:1"}, "twice");
  ExpectRefused({"--name=n1", "--initial-cluster=n1"}, "name=");
  ExpectRefused({"--name=n1", "--initial-cluster=n1=http://a:1,n2=http://b:1,n3=http://a:01/"},
                "'n1' and 'n3' the same URL, http://a:1;");
  ExpectRefused({"--name=n\xff"}, "--name must be valid UTF-8");
  ExpectRefused({"--name=n1", "--initial-cluster=n1=http://a:1,n\xff=http://b:1"}, "UTF-8");
  ExpectRefused({"--listen-peer-urls=http://a\xff:1"}, "character");
  ExpectRefused({"--heartbeat-interval=300"}, "at least 5 times");
  ExpectRefused({"--election-timeout=abc"}, "election-timeout");
  ExpectRefused({"--session-ttl=999"}, "session-ttl");
  ExpectRefused({"--max-sessions=0"}, "max-sessions");
  ExpectRefused({"--max-sessions="}, "max-sessions");
  ExpectRefused({"--log-level=loud"}, "log-level");
  ExpectRefused({"--config-file=/nonexistent.toml"}, "/nonexistent.toml");
}

class ConfigFileTest : public testing::Test {
 protected:
  ConfigFileTest() {
    std::string pattern = testing::TempDir() + "raftkv-config-XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  ~ConfigFileTest() override { std::filesystem::remove_all(dir_); }

  std::string Write(const std::string& text) const {
    std::ofstream(dir_ + "/c.toml") << text;
    return "--config-file=" + dir_ + "/c.toml";
  }

  std::string dir_;
};

TEST_F(ConfigFileTest, FlagsWinOverTheFile) {
  const std::string flag = Write("name = \"n7\"\nelection-timeout = 2000\n");
  const auto parsed = Parse({flag.c_str(), "--election-timeout=3000"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->options.name, "n7");
  EXPECT_EQ(parsed->options.election_timeout_ms, 3000u);
}

TEST_F(ConfigFileTest, SessionLimits) {
  const std::string flag = Write("max-sessions = 5\nsession-ttl = 2000\n");
  const auto parsed = Parse({flag.c_str(), "--max-sessions=6"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->options.max_sessions, 6u);
  EXPECT_EQ(parsed->options.session_ttl_ms, 2'000u);
}

TEST_F(ConfigFileTest, UrlListsWithCommasAreTaken) {
  const std::string flag =
      Write("name = \"n1\"\ninitial-cluster = \"n1=http://a:1,n2=http://b:2\"\n");
  const auto parsed = Parse({flag.c_str()});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->options.initial_cluster.size(), 2u);
}

TEST_F(ConfigFileTest, AnUnknownKeyIsRefused) {
  const std::string flag = Write("electoin-timeout = 2000\n");
  ExpectRefused({flag.c_str()}, "c.toml: ");
  ExpectRefused({flag.c_str()}, "electoin-timeout");
}

TEST_F(ConfigFileTest, AQuoteThatIsNotClosedIsRefused) {
  std::string flag = Write("# a node's\nname = \"n1\ndata-dir = \"n1.raftkv\"\n");
  ExpectRefused({flag.c_str()}, "c.toml: line 2: a quote (\") is not closed");
  flag = Write("name = 'n1\"");
  ExpectRefused({flag.c_str()}, "c.toml: line 1: a quote (') is not closed");
  // It would be taken for the beginning of a comment.
  flag = Write("name = \"n1\"\n\ndata-dir = \"n#1\"\n");
  ExpectRefused({flag.c_str()}, "c.toml: line 3: a value with a '#'");
}

TEST_F(ConfigFileTest, QuotesInQuotesAndCommentsAreTaken) {
  const std::string flag = Write(
      "; don't\nname = \"o'brien\"  # it's \"he\r\ndata-dir = 'the \"dir\"'\nlog-level = warn\n");
  const auto parsed = Parse({flag.c_str()});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->options.name, "o'brien");
  EXPECT_EQ(parsed->options.log_level, "warn");
}

TEST(Url, Ipv6) {
  const auto url = ParseUrl("http://[::1]:2379/");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->ToString(), "http://[::1]:2379");
}

TEST(Url, MalformedHosts) {
  for (const char* text : {"http://[::1:2379", "http://::1:2379", "http://[x]:2379",
                           "http://user@h:2379", "http://h?x:2379", "http://h#x:2379",
                           "http://127.0.0.1:2379:2379", "http://h/x:2379", "http://:2379"}) {
    EXPECT_EQ(ParseUrl(text).status().code(), Code::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace raftkv::server
