#include "tools/ctl/member_commands.h"

#include <algorithm>

#include "common/url.h"
#include "tools/ctl/call.h"
#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::Cluster;
using etcdserverpb::Member;
using std::chrono::milliseconds;

// How often a learner is tried for promotion: soon after it is in sync, without filling the log of
// the leader.
constexpr milliseconds kPromoteInterval(500);

constexpr const char* kNotInSync =
    "etcdserver: can only promote a learner member which is in sync with leader";

CallResult AddMember(Client* client, const NewMember& added,
                     etcdserverpb::MemberAddResponse* response) {
  etcdserverpb::MemberAddRequest request;
  for (const std::string& url : added.peer_urls) request.add_peerurls(url);
  request.set_islearner(added.learner);
  return client->Change(Bind<Cluster>(&Cluster::Stub::MemberAdd, request, response));
}

CallResult RemoveMember(Client* client, uint64_t id, etcdserverpb::MemberRemoveResponse* response) {
  etcdserverpb::MemberRemoveRequest request;
  request.set_id(id);
  return client->Change(Bind<Cluster>(&Cluster::Stub::MemberRemove, request, response));
}

CallResult PromoteMember(Client* client, uint64_t id,
                         etcdserverpb::MemberPromoteResponse* response) {
  etcdserverpb::MemberPromoteRequest request;
  request.set_id(id);
  return client->Change(Bind<Cluster>(&Cluster::Stub::MemberPromote, request, response));
}

// As Report, for a change of the member list whose outcome the list shows.
int ReportChange(const CallResult& result, const char* command, const Output& output) {
  if (result.verdict != Verdict::kUnknown) return Report(result, command, output);
  *output.err << "raftkvctl: " << command
              << ": outcome unknown: the member list may still change; see 'raftkvctl member "
                 "list' ("
              << result.error << ")\n";
  return kExitUnknown;
}

template <typename Members>
std::vector<Member> ToVector(const Members& members) {
  return {members.begin(), members.end()};
}

// One run of `member replace`, step by step. Each step looks at the member list first, or takes the
// error that says it was done before for success.
class Replacement {
 public:
  Replacement(Client* client, const Output& output, uint64_t old_id, NewMember added,
              milliseconds timeout)
      : client_(client),
        output_(output),
        old_id_(old_id),
        added_(std::move(added)),
        deadline_(client->clock()->Now() + timeout) {
    added_.learner = true;
  }

  int Run() {
    if (const int code = List(); code != kExitOk) return code;
    if (const int code = FindOrAdd(); code != kExitOk) return code;
    if (const int code = WaitForPromotion(); code != kExitOk) return code;
    return RemoveOld();
  }

 private:
  int Fail(const std::string& what) {
    *output_.err << "raftkvctl: member replace: " << what << "\n";
    return kExitFailed;
  }

  void Say(const std::string& what) { *output_.err << what << "\n"; }

  int List() {
    etcdserverpb::MemberListResponse response;
    const CallResult result = ListMembers(client_, &response);
    if (const int code = Report(result, "member replace", output_); code != kExitOk) return code;
    members_ = ToVector(response.members());
    return kExitOk;
  }

  const Member* ById(uint64_t id) const {
    const auto it = std::find_if(members_.begin(), members_.end(),
                                 [id](const Member& member) { return member.id() == id; });
    return it == members_.end() ? nullptr : &*it;
  }

  // The member that is reached at one of the new one's URLs.
  const Member* ByUrl() const {
    for (const Member& member : members_) {
      for (const std::string& url : member.peerurls()) {
        if (std::find(added_.peer_urls.begin(), added_.peer_urls.end(), url) !=
            added_.peer_urls.end()) {
          return &member;
        }
      }
    }
    return nullptr;
  }

  int FindOrAdd() {
    if (const Member* found = ByUrl()) {
      if (found->id() == old_id_) {
        return Fail(
            "the new member can't have the peer URLs of the old one while that is a member; "
            "give it others (member update changes them later)");
      }
      new_id_ = found->id();
      Say("Member " + IdText(new_id_) + " was added before: going on with it");
    } else if (ById(old_id_) == nullptr) {
      return Fail("there is no member " + IdText(old_id_) + " (see raftkvctl member list)");
    } else {
      etcdserverpb::MemberAddResponse response;
      const CallResult result = AddMember(client_, added_, &response);
      if (result.verdict == Verdict::kUnknown) return TakeOver(result);
      if (const int code = Report(result, "member replace", output_); code != kExitOk) return code;
      new_id_ = response.member().id();
      members_ = ToVector(response.members());
      Say("Member " + IdText(new_id_) + " added as a learner");
    }
    const Member* member = ById(new_id_);
    if (member != nullptr && member->name().empty()) {
      Say("Start it, with an empty data directory, if it does not run yet:\n  raftkvd");
      for (const std::string& flag : JoinFlags(added_, new_id_, members_)) Say("    " + flag);
    }
    return kExitOk;
  }

  // After an addition whose answer was lost: the list says whether it happened.
  int TakeOver(const CallResult& lost) {
    if (const int code = List(); code != kExitOk) return code;
    if (ByUrl() == nullptr) {
      *output_.err << "raftkvctl: member replace: outcome unknown: the new member may still be "
                      "added; run the same command again ("
                   << lost.error << ")\n";
      return kExitUnknown;
    }
    return FindOrAdd();
  }

  int WaitForPromotion() {
    std::string last_error = "it was not tried";
    for (bool waiting = false;; waiting = true) {
      const Member* member = ById(new_id_);
      if (member == nullptr) return Fail("member " + IdText(new_id_) + " was removed meanwhile");
      if (!member->islearner()) return kExitOk;
      etcdserverpb::MemberPromoteResponse response;
      const CallResult result = PromoteMember(client_, new_id_, &response);
      if (result.verdict == Verdict::kDone) {
        Say("Member " + IdText(new_id_) + " promoted to a voter");
        return kExitOk;
      }
      last_error = result.error;
      if (!waiting) Say("Waiting until it has caught up (" + last_error + ")");
      if (client_->clock()->Now() + kPromoteInterval >= deadline_) break;
      client_->clock()->SleepFor(kPromoteInterval);
      // Not in sync is the usual answer, and says that the list is as it was. After any other the
      // list shows what happened; if it can't be had the old one has to do.
      if (last_error != kNotInSync) {
        etcdserverpb::MemberListResponse list;
        if (ListMembers(client_, &list).verdict == Verdict::kDone) {
          members_ = ToVector(list.members());
        }
      }
    }
    return Fail("member " + IdText(new_id_) + " could not be promoted in time (" + last_error +
                "); it stays a learner, which does not count for the quorum, and the old member "
                "was not touched. See that it runs, and run the same command again; or give it up "
                "with 'raftkvctl member remove " +
                IdText(new_id_) + "'");
  }

  int RemoveOld() {
    for (;;) {
      // The old one may have led: who leads now has to be found out first, so the list is asked for
      // anew each time, from whoever answers.
      if (const int code = List(); code != kExitOk) return code;
      if (ById(old_id_) == nullptr) break;
      etcdserverpb::MemberRemoveResponse response;
      const CallResult result = RemoveMember(client_, old_id_, &response);
      if (result.verdict == Verdict::kDone) break;
      if (client_->clock()->Now() + kPromoteInterval >= deadline_) {
        return ReportChange(result, "member replace", output_);
      }
      client_->clock()->SleepFor(kPromoteInterval);
    }
    Say("Member " + IdText(old_id_) + " removed");
    etcdserverpb::MemberListResponse response;
    const CallResult result = ListMembers(client_, &response);
    if (const int code = Report(result, "member replace", output_); code != kExitOk) return code;
    *output_.out << output_.printer->MemberList(response);
    return kExitOk;
  }

  Client* const client_;
  const Output output_;
  const uint64_t old_id_;
  NewMember added_;
  const std::chrono::system_clock::time_point deadline_;
  uint64_t new_id_ = 0;
  std::vector<Member> members_;
};

}  // namespace

StatusOr<std::vector<std::string>> ParsePeerUrls(const std::string& list) {
  std::vector<std::string> urls;
  for (const std::string& part : SplitCommas(list)) {
    RAFTKV_ASSIGN_OR_RETURN(const Url url, ParseUrl(part));
    urls.push_back(url.ToString());
  }
  if (urls.empty()) return Status(Code::kInvalidArgument, "--peer-urls: give at least one URL");
  return urls;
}

std::vector<std::string> JoinFlags(const NewMember& added, uint64_t id,
                                   const std::vector<Member>& members) {
  std::string cluster;
  for (const Member& member : members) {
    if (member.peerurls().empty()) continue;
    // A member that never came up has not said its name; any will do for finding the others.
    const std::string name = member.id() == id       ? added.name
                             : member.name().empty() ? "member-" + IdText(member.id())
                                                     : member.name();
    cluster += (cluster.empty() ? "" : ",") + name + "=" + member.peerurls(0);
  }
  std::string urls;
  for (const std::string& url : added.peer_urls) urls += (urls.empty() ? "" : ",") + url;
  return {"--name=" + added.name, "--initial-advertise-peer-urls=" + urls,
          "--initial-cluster=" + cluster, "--initial-cluster-state=existing"};
}

int RunMemberAdd(Client* client, const Output& output, const NewMember& added) {
  etcdserverpb::MemberAddResponse response;
  const CallResult result = AddMember(client, added, &response);
  if (const int code = ReportChange(result, "member add", output); code != kExitOk) return code;
  *output.out << output.printer->MemberAdd(
      response, JoinFlags(added, response.member().id(), ToVector(response.members())));
  return kExitOk;
}

int RunMemberRemove(Client* client, const Output& output, uint64_t id) {
  etcdserverpb::MemberRemoveResponse response;
  const CallResult result = RemoveMember(client, id, &response);
  if (const int code = ReportChange(result, "member remove", output); code != kExitOk) return code;
  *output.out << output.printer->MemberRemove(response, id);
  return kExitOk;
}

int RunMemberPromote(Client* client, const Output& output, uint64_t id) {
  etcdserverpb::MemberPromoteResponse response;
  const CallResult result = PromoteMember(client, id, &response);
  if (const int code = ReportChange(result, "member promote", output); code != kExitOk) return code;
  *output.out << output.printer->MemberPromote(response, id);
  return kExitOk;
}

int RunMemberUpdate(Client* client, const Output& output, uint64_t id,
                    const std::vector<std::string>& peer_urls) {
  etcdserverpb::MemberUpdateRequest request;
  request.set_id(id);
  for (const std::string& url : peer_urls) request.add_peerurls(url);
  etcdserverpb::MemberUpdateResponse response;
  const CallResult result =
      client->Change(Bind<Cluster>(&Cluster::Stub::MemberUpdate, request, &response));
  if (const int code = ReportChange(result, "member update", output); code != kExitOk) return code;
  *output.out << output.printer->MemberUpdate(response, id);
  return kExitOk;
}

int RunMemberReplace(Client* client, const Output& output, uint64_t old_id, const NewMember& added,
                     std::chrono::milliseconds timeout) {
  return Replacement(client, output, old_id, added, timeout).Run();
}

}  // namespace raftkv::tools::ctl
