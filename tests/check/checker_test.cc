#include "check/checker.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/every_order.h"
#include "check/history_file.h"
#include "check/random_history.h"
#include "check/testing.h"
#include "common/rng.h"

namespace raftkv::check {
namespace {

// --- against the definition ---

// Gives some answers another content, so that about half of the histories are illegal.
void Garble(History* history, const RandomOptions& options, Rng* rng) {
  for (Operation& op : *history) {
    if (!rng->Percent(15) || op.outcome != Outcome::kOk) continue;
    if (op.succeeded && rng->Percent(50)) op.succeeded = !*op.succeeded;
    for (Step& step : op.then_steps) {
      if (step.deleted) step.deleted = !*step.deleted;
      if (!step.known) continue;
      step.value.reset();
      if (rng->Percent(70)) step.value = "v" + std::to_string(rng->Below(options.values + 2));
    }
  }
}

struct Mix {
  const char* name;
  RandomOptions options;
};

constexpr RandomOptions kSmall = {
    .operations = 8, .clients = 3, .values = 2, .unknown_percent = 20};

RandomOptions Register() {
  RandomOptions options = kSmall;
  options.values = 0;
  options.delete_percent = options.cas_percent = 0;
  return options;
}
RandomOptions FewValues() {
  RandomOptions options = kSmall;
  options.delete_percent = options.cas_percent = 20;
  return options;
}
RandomOptions UncountedDeletes() {
  RandomOptions options = kSmall;
  options.delete_percent = 25;
  options.counted_deletes = false;
  return options;
}
RandomOptions ManyUnknown() {
  RandomOptions options = kSmall;
  options.clients = 4;
  options.values = 3;
  options.unknown_percent = 45;
  options.delete_percent = options.cas_percent = 20;
  options.pause_percent = 20;
  return options;
}
RandomOptions Transactions() {
  RandomOptions options = kSmall;
  options.keys = 2;
  options.get_percent = 25;
  options.txn_percent = 35;
  options.range_percent = 10;
  return options;
}

const Mix kMixes[] = {{"Register", Register()},
                      {"FewValues", FewValues()},
                      {"UncountedDeletes", UncountedDeletes()},
                      {"ManyUnknown", ManyUnknown()},
                      {"Transactions", Transactions()}};

class AgainstEveryOrder : public testing::TestWithParam<Mix> {};

TEST_P(AgainstEveryOrder, SameVerdict) {
  const RandomOptions& options = GetParam().options;
  size_t good = 0, bad = 0;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    History history = RandomHistory(options, seed);
    ASSERT_TRUE(AnyOrderExplains(history)) << "the generator is wrong\n" << Text(history);
    ASSERT_EQ(VerdictOf(history), Verdict::kOk) << Text(history);
    Garble(&history, options, &rng);
    const bool legal = AnyOrderExplains(history);
    ASSERT_EQ(VerdictOf(history), legal ? Verdict::kOk : Verdict::kIllegal) << Text(history);
    ++(legal ? good : bad);
  }
  // Both must occur, or nothing was tested.
  EXPECT_GT(good, 300u);
  EXPECT_GT(bad, 300u);
}

INSTANTIATE_TEST_SUITE_P(Mixes, AgainstEveryOrder, testing::ValuesIn(kMixes),
                         [](const auto& mix) { return mix.param.name; });

// --- large good histories, and what can go wrong in them ---

// A client that is alone for a while, though writes without an answer are still open: what it sees
// is then certain. Its operations, by name.
struct Probe {
  size_t put_a, cas_to_b, get_b, cas_a_again, unknown_c, get_c, put_d, get_d, remove, get_none,
      put_e, get_e;
};

Probe AppendProbe(History* history) {
  int64_t now = 0;
  for (const Operation& op : *history) {
    now = std::max(now, op.return_ns == kNever ? op.invoke_ns : op.return_ns);
  }
  const std::string a = "a" + std::to_string(history->size());
  const std::string b = "b" + a, c = "c" + a, d = "d" + a, e = "e" + a;
  const auto add = [&](Operation op) {
    op.invoke_ns = now += 10;
    if (op.outcome == Outcome::kOk) op.return_ns = now += 10;
    history->push_back(std::move(op));
    return history->size() - 1;
  };
  Probe probe;
  probe.put_a = add(Put("p", "k0", a));
  probe.cas_to_b = add(Cas("p", "k0", a, b, true));
  probe.get_b = add(Get("p", "k0", b));
  probe.cas_a_again = add(Cas("p", "k0", a, "never", false));
  Operation unknown = Put("q", "k0", c);
  unknown.outcome = Outcome::kUnknown;
  probe.unknown_c = add(unknown);
  probe.get_c = add(Get("p", "k0", c));
  probe.put_d = add(Put("p", "k0", d));
  probe.get_d = add(Get("p", "k0", d));
  probe.remove = add(Delete("p", "k0", true));
  probe.get_none = add(Get("p", "k0", std::nullopt));
  probe.put_e = add(Put("p", "k0", e));
  probe.get_e = add(Get("p", "k0", e));
  return probe;
}

struct Mutation {
  const char* name;
  std::function<void(History*, const Probe&)> apply;
};

void SetRead(History* history, size_t get, const Operation& put) {
  (*history)[get].then_steps[0].value = put.then_steps[0].value;
}

const std::vector<Mutation>& Mutations() {
  static const std::vector<Mutation> mutations = {
      {"stale read", [](History* h, const Probe& p) { SetRead(h, p.get_d, (*h)[p.unknown_c]); }},
      {"lost write", [](History* h, const Probe& p) { SetRead(h, p.get_b, (*h)[p.put_a]); }},
      {"compare swapped to no",
       [](History* h, const Probe& p) { (*h)[p.cas_to_b].succeeded = false; }},
      {"compare swapped to yes",
       [](History* h, const Probe& p) { (*h)[p.cas_a_again].succeeded = true; }},
      {"value back from the dead",
       [](History* h, const Probe& p) { SetRead(h, p.get_e, (*h)[p.put_d]); }},
      {"deleted and still there",
       [](History* h, const Probe& p) { SetRead(h, p.get_none, (*h)[p.put_d]); }},
      {"unknown write applied twice",
       [](History* h, const Probe& p) { SetRead(h, p.get_e, (*h)[p.unknown_c]); }},
      {"failed write applied",
       [](History* h, const Probe& p) {
         (*h)[p.put_e].outcome = Outcome::kFail;
         (*h)[p.put_e].return_ns = kNever;
       }},
      {"value from nowhere",
       [](History* h, const Probe& p) { (*h)[p.get_e].then_steps[0].value = "nobody's"; }},
      {"read before its write",
       [](History* h, const Probe& p) { SetRead(h, p.get_b, (*h)[p.put_e]); }},
  };
  return mutations;
}

TEST(Mutations, AreAllFoundAndTheirWindowsAreSmall) {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    RandomOptions options;
    options.operations = 150;
    options.unknown_percent = 10;
    History good = RandomHistory(options, seed);
    const Probe probe = AppendProbe(&good);
    // More after it: the window must be found in the middle.
    for (Operation op : RandomHistory({.operations = 50, .unknown_percent = 0}, seed + 1000)) {
      const int64_t shift = good[probe.get_e].return_ns + 10;
      op.invoke_ns += shift;
      if (op.return_ns != kNever) op.return_ns += shift;
      op.client = "later";
      for (auto* steps : {&op.then_steps, &op.else_steps}) {
        for (Step& step : *steps) step.key = "other";
      }
      for (Compare& compare : op.compares) compare.key = "other";
      good.push_back(std::move(op));
    }
    ASSERT_EQ(VerdictOf(good), Verdict::kOk) << "seed " << seed << "\n" << Text(good);
    for (const Mutation& mutation : Mutations()) {
      SCOPED_TRACE(std::string(mutation.name) + ", seed " + std::to_string(seed));
      History bad = good;
      mutation.apply(&bad, probe);
      const CheckReport report = Check(bad, {.revisions = false});
      ASSERT_EQ(report.verdict, Verdict::kIllegal);
      ASSERT_EQ(report.violations.size(), 1u);
      EXPECT_LE(report.violations[0].ops.size(), 30u) << Text(bad, report.violations[0].ops);
      // What is shown is illegal by itself.
      History window;
      for (const size_t i : report.violations[0].ops) window.push_back(bad[i]);
      EXPECT_FALSE(AnyOrderExplains(window)) << Text(window);
    }
  }
}

// --- by hand ---

History At(std::vector<std::pair<std::pair<int64_t, int64_t>, Operation>> ops) {
  History history;
  for (auto& [times, op] : ops) {
    op.invoke_ns = times.first;
    op.return_ns = times.second;
    if (times.second == kNever) op.outcome = Outcome::kUnknown;
    history.push_back(op);
  }
  return history;
}

TEST(Checker, ReadsMayNotGoBackDuringAWrite) {
  const auto history = [](const char* first, const char* second) {
    return At({{{0, 10}, Put("a", "x", "1")},
               {{20, 100}, Put("a", "x", "2")},
               {{30, 40}, Get("b", "x", first)},
               {{50, 60}, Get("b", "x", second)}});
  };
  EXPECT_EQ(VerdictOf(history("1", "2")), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history("2", "2")), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history("2", "1")), Verdict::kIllegal);
}

TEST(Checker, AnUnknownWriteMayTakeEffectLateOrNeverButOnce) {
  const auto history = [](const char* first, const char* second, const char* third) {
    return At({{{0, kNever}, Put("a", "x", "1")},
               {{20, 30}, Put("b", "x", "2")},
               {{40, 50}, Get("b", "x", first)},
               {{60, 70}, Get("b", "x", second)},
               {{80, 90}, Get("b", "x", third)}});
  };
  EXPECT_EQ(VerdictOf(history("2", "2", "2")), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history("2", "1", "1")), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history("1", "1", "1")), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history("2", "1", "2")), Verdict::kIllegal);
}

TEST(Checker, OfTwoCompareAndSwapsOneWins) {
  const auto history = [](bool first, bool second) {
    return At({{{0, 10}, Put("a", "x", "1")},
               {{20, 40}, Cas("a", "x", "1", "2", first)},
               {{20, 40}, Cas("b", "x", "1", "3", second)}});
  };
  EXPECT_EQ(VerdictOf(history(true, false)), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history(false, true)), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history(true, true)), Verdict::kIllegal);
  EXPECT_EQ(VerdictOf(history(false, false)), Verdict::kIllegal);
}

TEST(Checker, AnUnseenUnknownWriteMayBeWhyACompareFailed) {
  const History history = At({{{0, 10}, Put("a", "x", "1")},
                              {{20, kNever}, Put("b", "x", "2")},
                              {{30, 40}, Cas("a", "x", "1", "3", false)}});
  EXPECT_EQ(VerdictOf(history), Verdict::kOk);
  EXPECT_EQ(VerdictOf({history[0], history[2]}), Verdict::kIllegal);
}

TEST(Checker, EndAndBeginAtOneTimeMayOverlap) {
  EXPECT_EQ(VerdictOf(At({{{0, 10}, Put("a", "x", "1")}, {{10, 20}, Get("b", "x", std::nullopt)}})),
            Verdict::kOk);
  EXPECT_EQ(VerdictOf(At({{{0, 10}, Put("a", "x", "1")}, {{11, 20}, Get("b", "x", std::nullopt)}})),
            Verdict::kIllegal);
}

TEST(Checker, ATransactionIsSeenWholeByATransaction) {
  Operation move = Txn("a", {{"x", "1"}}, {PutStep("x", "0"), PutStep("y", "1")}, true);
  Operation both = Txn("b", {}, {GetStep("x", "0"), GetStep("y", std::nullopt)}, true);
  const History torn = At({{{0, 10}, Put("a", "x", "1")}, {{20, 60}, move}, {{30, 40}, both}});
  EXPECT_EQ(SplitByKeys(torn).size(), 1u);
  EXPECT_EQ(VerdictOf(torn), Verdict::kIllegal);
  both.then_steps[1].value = "1";
  EXPECT_EQ(VerdictOf(At({{{0, 10}, Put("a", "x", "1")}, {{20, 60}, move}, {{30, 40}, both}})),
            Verdict::kOk);
}

TEST(Checker, KeysWithoutACommonOperationAreCheckedApart) {
  const History history = At({{{0, 10}, Put("a", "x", "1")},
                              {{0, 10}, Put("a", "y", "1")},
                              {{20, 30}, Get("a", "y", "2")}});
  const CheckReport report = Check(history, {});
  EXPECT_EQ(report.groups, 2u);
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_THAT(report.violations[0].keys, testing::ElementsAre("y"));
  EXPECT_EQ(report.violations[0].why, "a value was read that nobody wrote");
}

TEST(Checker, ALimitIsUnknownNotOk) {
  // All overlap, and no value tells its writer: the search has to try.
  History history = RandomHistory({.operations = 400,
                                   .clients = 40,
                                   .values = 2,
                                   .unknown_percent = 30,
                                   .cas_percent = 40,
                                   .pause_percent = 0},
                                  1);
  CheckOptions options;
  options.revisions = false;
  options.memory_bytes = 0;
  options.time_max = std::chrono::milliseconds(0);
  const CheckReport report = Check(history, options);
  EXPECT_EQ(report.verdict, Verdict::kUnknown);
  EXPECT_EQ(report.unknown_groups, 1u);
  EXPECT_NE(report.why, "");
}

TEST(Checker, NothingIsOk) { EXPECT_EQ(VerdictOf({}), Verdict::kOk); }

}  // namespace
}  // namespace raftkv::check
