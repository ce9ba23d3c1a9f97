// Histories of the size of a test run: they must be decided, and the times are printed.
#include <chrono>
#include <cstdio>

#include <gtest/gtest.h>

#include "check/random_history.h"
#include "check/testing.h"

namespace raftkv::check {
namespace {

CheckReport Timed(const char* name, const History& history) {
  CheckOptions options;
  options.revisions = false;
  const auto start = std::chrono::steady_clock::now();
  CheckReport report = Check(history, options);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%-44s %6zu operations  %8.3f s  %9llu configurations\n", name, history.size(),
              seconds.count(), static_cast<unsigned long long>(report.configurations));
  return report;
}

// A read near the end of what was there near its start.
void MakeStale(History* history) {
  const Value old = [&] {
    for (const Operation& op : *history) {
      if (op.kind == "put" && op.outcome == Outcome::kOk) return op.then_steps[0].value;
    }
    return Value();
  }();
  for (size_t i = history->size() - 100; i < history->size(); ++i) {
    Operation& op = (*history)[i];
    if (op.kind != "get" || op.outcome != Outcome::kOk) continue;
    op.then_steps[0].value = old;
    return;
  }
}

RandomOptions TenClients() {
  RandomOptions options;
  options.operations = 10'000;
  options.clients = 10;
  return options;
}

TEST(Speed, TenThousandOperationsOnOneKey) {
  RandomOptions options = TenClients();
  options.delete_percent = options.cas_percent = 0;
  History history = RandomHistory(options, 1);
  EXPECT_EQ(Timed("register, 10 clients, 5% unknown", history).verdict, Verdict::kOk);
  MakeStale(&history);
  EXPECT_EQ(Timed("... with a stale read near the end", history).verdict, Verdict::kIllegal);
}

TEST(Speed, WithDeletesAndCompareAndSwap) {
  History history = RandomHistory(TenClients(), 2);
  EXPECT_EQ(Timed("put, get, delete, cas, 5% unknown", history).verdict, Verdict::kOk);
  MakeStale(&history);
  EXPECT_EQ(Timed("... with a stale read near the end", history).verdict, Verdict::kIllegal);
}

TEST(Speed, NoPauses) {
  RandomOptions options = TenClients();
  options.pause_percent = 0;
  EXPECT_EQ(Timed("the same, clients never pause", RandomHistory(options, 3)).verdict,
            Verdict::kOk);
}

TEST(Speed, ManyUnknownWrites) {
  RandomOptions options = TenClients();
  options.unknown_percent = 40;
  options.get_percent = 30;
  History history = RandomHistory(options, 4);
  EXPECT_EQ(Timed("40% unknown", history).verdict, Verdict::kOk);
  MakeStale(&history);
  EXPECT_EQ(Timed("... with a stale read near the end", history).verdict, Verdict::kIllegal);
}

TEST(Speed, FewValues) {
  // The hard case: a value does not tell who wrote it.
  RandomOptions options = TenClients();
  options.values = 5;
  EXPECT_EQ(Timed("5 values, 5% unknown", RandomHistory(options, 5)).verdict, Verdict::kOk);
}

TEST(Speed, TransactionsOverTenKeys) {
  RandomOptions options = TenClients();
  // Deletes without an answer, which any reader of an absent key may have seen, are what is hard
  // here: 10,000 operations with 5% without an answer are not decided in a minute.
  options.operations = 4000;
  options.unknown_percent = 2;
  options.keys = 10;
  options.txn_percent = 20;
  options.range_percent = 5;
  EXPECT_EQ(Timed("10 keys, 20% transactions, 5% ranges", RandomHistory(options, 6)).verdict,
            Verdict::kOk);
}

}  // namespace
}  // namespace raftkv::check
