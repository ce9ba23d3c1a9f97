// raftkvctl: client and operator's tool. Also works against etcd, except for what is raftkv's own.
#include <iostream>
#include <iterator>
#include <string>

#include <CLI/CLI.hpp>

#include "tools/ctl/admin_cli.h"
#include "tools/ctl/client.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/printer.h"
#include "tools/ctl/requests.h"
#include "tools/ctl/txn_parser.h"
#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

struct Flags {
  std::string endpoints = "127.0.0.1:2379";
  std::string write_out = "simple";
  std::string command_timeout = "5s";
  std::string dial_timeout = "2s";
  bool hex = false;
  bool hex_input = false;
  bool cluster = false;
  PutFlags put;
  GetFlags get;
  DelFlags del;
  int64_t compact_revision = 0;
  bool compact_physical = false;
  std::string move_leader_to;
};

struct Commands {
  CLI::App* put;
  CLI::App* get;
  CLI::App* del;
  CLI::App* txn;
  CLI::App* status;
  CLI::App* health;
  CLI::App* endpoint_status;  // etcdctl's names for these two
  CLI::App* endpoint_health;
  CLI::App* move_leader;
  CLI::App* compact;
};

void AddGlobalOptions(CLI::App* app, Flags* flags) {
  app->add_option("--endpoints", flags->endpoints, "Nodes to ask, host:port, separated by commas")
      ->envname("RAFTKVCTL_ENDPOINTS")
      ->capture_default_str();
  app->add_option("-w,--write-out", flags->write_out, "simple, json or table")
      ->capture_default_str();
  app->add_option("--command-timeout", flags->command_timeout,
                  "Time for the whole command, with its retries")
      ->capture_default_str();
  app->add_option("--dial-timeout", flags->dial_timeout, "Time for one connection")
      ->capture_default_str();
  app->add_flag("--hex", flags->hex, "Print keys and values as \\xNN (simple output)");
  app->add_flag("--hex-input", flags->hex_input,
                "Keys and values on the command line (and in txn) are hexadecimal");
  app->set_version_flag("--version", "raftkvctl " RAFTKV_VERSION);
  app->footer(
      "Exit codes: 0 done; 1 failed, nothing was changed; 2 wrong usage, nothing was sent;\n"
      "3 the outcome of a write is unknown: it may still be applied, or was and its answer is "
      "lost.\n\n"
      "A write is sent again, under a session that has it applied once, until an answer comes or\n"
      "the time is up. An argument that starts with a dash goes behind --.");
}

Commands AddCommands(CLI::App* app, Flags* flags) {
  Commands c{};
  c.put = AddCommand(app, "put", "Set a key", "raftkvctl put greeting hello");
  AddPutArguments(c.put, &flags->put);
  c.get = AddCommand(app, "get", "Read a key, a range or a prefix",
                     "raftkvctl get --prefix config/ --limit 10");
  AddGetArguments(c.get, &flags->get);
  c.del = AddCommand(app, "del", "Delete a key, a range or a prefix",
                     "raftkvctl del --prefix config/ --prev-kv");
  AddDelArguments(c.del, &flags->del);
  c.txn =
      AddCommand(app, "txn",
                 "Compare and change in one step; reads compares, a blank line, what to do if "
                 "they hold, a blank line, what to do otherwise",
                 "printf 'value(\"k\") = \"old\"\\n\\nput k new\\n\\nget k\\n' | raftkvctl txn");
  c.status = AddCommand(app, "status", "What each endpoint says about itself",
                        "raftkvctl status --cluster -w table");
  c.health = AddCommand(app, "health", "Whether each endpoint serves linearizable reads",
                        "raftkvctl health --endpoints 127.0.0.1:2379,127.0.0.1:22379");
  CLI::App* endpoint = AddCommand(app, "endpoint", "status and health under etcdctl's names",
                                  "raftkvctl endpoint status -w json");
  c.endpoint_status = AddCommand(endpoint, "status", "As 'raftkvctl status'",
                                 "raftkvctl endpoint status --cluster");
  c.endpoint_health = AddCommand(endpoint, "health", "As 'raftkvctl health'",
                                 "raftkvctl endpoint health --cluster");
  endpoint->require_subcommand(1);
  for (CLI::App* command : {c.status, c.health, c.endpoint_status, c.endpoint_health}) {
    command->add_flag("--cluster", flags->cluster, "Every member, not only --endpoints");
  }
  c.move_leader = AddCommand(app, "move-leader", "Hand leadership to another member",
                             "raftkvctl move-leader 8211f1d0f64f3269");
  c.move_leader->add_option("id", flags->move_leader_to, "The member's id, hexadecimal")
      ->required();
  c.compact =
      AddCommand(app, "compact", "Give up the history before a revision", "raftkvctl compact 1000");
  c.compact->alias("compaction");
  c.compact->add_option("revision", flags->compact_revision, "Older revisions can't be read after")
      ->required();
  c.compact->add_flag("--physical", flags->compact_physical,
                      "Answer only when the old versions are gone");
  return c;
}

std::string ReadStandardInput() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

StatusOr<ClientOptions> ToClientOptions(const Flags& flags) {
  ClientOptions options;
  RAFTKV_ASSIGN_OR_RETURN(options.endpoints, ParseEndpoints(flags.endpoints));
  const auto read = [](const std::string& name, const std::string& text,
                       std::chrono::milliseconds* out) {
    const std::optional<uint64_t> ms = ParseDurationMs(text);
    if (!ms) {
      return Status(Code::kInvalidArgument,
                    "--" + name + ": '" + text + "' is not a duration (such as 5s or 500ms)");
    }
    *out = std::chrono::milliseconds(*ms);
    return Status::Ok();
  };
  RAFTKV_RETURN_IF_ERROR(read("command-timeout", flags.command_timeout, &options.command_timeout));
  RAFTKV_RETURN_IF_ERROR(read("dial-timeout", flags.dial_timeout, &options.dial_timeout));
  return options;
}

// Runs `run` with the request, or says what is wrong with it.
template <typename Request, typename Run>
int WithRequest(const Output& output, const StatusOr<Request>& request, const Run& run) {
  if (!request.ok()) return UsageError(output, request.status().message());
  return run(*request);
}

int RunMoveLeaderTo(Client* client, const Output& output, const std::string& id) {
  const StatusOr<uint64_t> target = ParseMemberId(id);
  if (!target.ok()) return UsageError(output, "move-leader: " + target.status().message());
  return RunMoveLeader(client, output, *target);
}

int Dispatch(const Commands& c, const Flags& flags, Client* client, const Output& output) {
  const WordEncoding words = flags.hex_input ? WordEncoding::kHex : WordEncoding::kBytes;
  if (*c.put) {
    return WithRequest(output, ToPut(flags.put, words, ReadStandardInput),
                       [&](const auto& request) { return RunPut(client, output, request); });
  }
  if (*c.get) {
    return WithRequest(output, ToRange(flags.get, words),
                       [&](const auto& request) { return RunGet(client, output, request); });
  }
  if (*c.del) {
    return WithRequest(output, ToDelete(flags.del, words),
                       [&](const auto& request) { return RunDel(client, output, request); });
  }
  if (*c.txn) {
    return WithRequest(output, ParseTxn(std::cin, words),
                       [&](const auto& request) { return RunTxn(client, output, request); });
  }
  if (*c.compact) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(flags.compact_revision);
    request.set_physical(flags.compact_physical);
    return RunCompact(client, output, request);
  }
  if (*c.status || *c.endpoint_status) return RunStatus(client, output, flags.cluster);
  if (*c.health || *c.endpoint_health) return RunHealth(client, output, flags.cluster);
  return RunMoveLeaderTo(client, output, flags.move_leader_to);
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("raftkvctl: read, change and inspect a raftkv cluster", "raftkvctl");
  app.fallthrough();  // the options below may also stand behind the command
  AddGlobalOptions(&app, &flags);
  const Commands commands = AddCommands(&app, &flags);
  const AdminCli admin(&app);
  app.require_subcommand(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 has a number for every kind of mistake; scripts need only one.
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  const StatusOr<ClientOptions> options = ToClientOptions(flags);
  const Output no_printer{nullptr, &std::cout, &std::cerr};
  if (!options.ok()) return UsageError(no_printer, options.status().message());
  const StatusOr<std::unique_ptr<Printer>> printer =
      NewPrinter(flags.write_out, {flags.hex, flags.get.print_value_only});
  if (!printer.ok()) return UsageError(no_printer, printer.status().message());
  Client client(*options, Clock::Real());
  const Output output{printer->get(), &std::cout, &std::cerr};
  const std::optional<int> admin_code = admin.Run(&client, output);
  const int code = admin_code ? *admin_code : Dispatch(commands, flags, &client, output);
  // A full disk or a closed pipe must not look like a result.
  std::cout.flush();
  if (!std::cout && code == kExitOk) {
    std::cerr << "raftkvctl: done, but the output could not be written\n";
    return *commands.put || *commands.del || *commands.txn || *commands.compact ? kExitUnknown
                                                                                : kExitFailed;
  }
  return code;
}

}  // namespace
}  // namespace raftkv::tools::ctl

int main(int argc, char** argv) { return raftkv::tools::ctl::Main(argc, argv); }
