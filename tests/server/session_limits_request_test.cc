// When a node asks for the session limits that its flags say, and when it only complains.

#include "server/session_limits_request.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

using std::chrono::seconds;
using store::SessionLimits;

class SessionLimitsRequestTest : public testing::Test {
 protected:
  SessionLimitsHooks Hooks() {
    SessionLimitsHooks hooks;
    hooks.leads = [this] { return leads_; };
    hooks.propose = [this](const SessionLimits& limits, std::function<void(Status)> done) {
      proposed_.push_back(limits);
      done_ = std::move(done);
    };
    hooks.warn = [this](const std::string& warning) { warnings_.push_back(warning); };
    return hooks;
  }

  store::AppliedRecord Applied(Term term) const {
    store::AppliedRecord applied;
    applied.position = {Index(9), term};
    applied.session_limits = state_;
    return applied;
  }
  void Apply(Term term) { request_.OnApplied(Applied(term)); }
  void StepAfter(seconds pause) {
    now_ += pause;
    request_.Step(Applied(Term(5)), now_);
  }

  SessionLimits state_;
  Term leads_{5};
  std::vector<SessionLimits> proposed_;
  std::function<void(Status)> done_;
  std::vector<std::string> warnings_;
  SessionLimitsRequest::Clock::time_point now_{seconds(1000)};
  SessionLimitsRequest request_{/*sessions_max=*/7, /*ttl_ms=*/std::nullopt, Hooks()};
};

TEST_F(SessionLimitsRequestTest, ALeaderProposesOnceAndLeavesWhatWasNotAskedForAsItIs) {
  state_.ttl_ms = 1234;
  Apply(Term(4));
  EXPECT_TRUE(proposed_.empty()) << "its own term's first entry is not applied yet";
  Apply(Term(5));
  Apply(Term(5));
  EXPECT_EQ(proposed_, std::vector<SessionLimits>({{7, 1234}}));
  state_ = {7, 1234};
  done_(Status::Ok());
  Apply(Term(5));
  EXPECT_EQ(proposed_.size(), 1u);
  state_.sessions_max = 8;  // an earlier leader's request comes late
  Apply(Term(5));
  EXPECT_EQ(proposed_.size(), 2u);
}

TEST_F(SessionLimitsRequestTest, OneThatFailedIsTriedAgainByWhoeverLeads) {
  Apply(Term(5));
  done_(store::ErrTimeout());
  leads_ = Term();
  Apply(Term(5));
  EXPECT_EQ(proposed_.size(), 1u);
  leads_ = Term(6);
  Apply(Term(6));
  EXPECT_EQ(proposed_.size(), 2u);
}

TEST_F(SessionLimitsRequestTest, AFollowerOnlyWarnsAndNotAtOnce) {
  leads_ = Term();
  Apply(Term(5));
  StepAfter(seconds(0));
  StepAfter(seconds(9));
  EXPECT_TRUE(warnings_.empty()) << "the leader may be about to propose the same";
  StepAfter(seconds(1));
  StepAfter(seconds(100));
  ASSERT_EQ(warnings_.size(), 1u) << "once";
  EXPECT_NE(warnings_[0].find("limits are max_sessions=100000 session_ttl=3600000, not what"),
            std::string::npos)
      << warnings_[0];
  EXPECT_NE(warnings_[0].find("(max_sessions=7 session_ttl=3600000)"), std::string::npos);
  EXPECT_TRUE(proposed_.empty());
  state_.sessions_max = 6;
  StepAfter(seconds(1));
  EXPECT_EQ(warnings_.size(), 2u) << "for each that is in force";
  state_.sessions_max = 7;
  StepAfter(seconds(100));
  state_.sessions_max = 6;
  StepAfter(seconds(1));
  EXPECT_EQ(warnings_.size(), 2u);
  StepAfter(seconds(10));
  EXPECT_EQ(warnings_.size(), 3u);
}

}  // namespace
}  // namespace raftkv::server
