// The table of newest versions by itself; that it is never stale is for model_test.cc.
#include "store/newest_versions.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>

#include "common/rng.h"

namespace raftkv::store {
namespace {

KeyVersion Version(std::string_view key, int64_t mod) {
  return {.key = key,
          .mod = {mod, static_cast<uint32_t>(mod % 3)},
          .tombstone = mod % 5 == 0,
          .create_revision = mod / 2,
          .version = mod / 3,
          .lease = mod / 4,
          .value = "not kept"};
}

void ExpectFound(const NewestVersions& newest, std::string_view key, int64_t mod) {
  KeyVersion found;
  ASSERT_TRUE(newest.Find(key, &found));
  const KeyVersion expected = Version(key, mod);
  EXPECT_EQ(found.key, key);
  EXPECT_EQ(found.mod, expected.mod);
  EXPECT_EQ(found.tombstone, expected.tombstone);
  EXPECT_EQ(found.create_revision, expected.create_revision);
  EXPECT_EQ(found.version, expected.version);
  EXPECT_EQ(found.lease, expected.lease);
  EXPECT_EQ(found.value, "");
}

TEST(NewestVersions, FindsWhatWasStoredLast) {
  NewestVersions newest(1 << 20);
  KeyVersion found;
  EXPECT_FALSE(newest.Find("a", &found));
  newest.Store(Version("a", 7));
  newest.Store(Version("", 8));
  newest.Store(Version(std::string_view("a\0", 2), 9));
  ExpectFound(newest, "a", 7);
  ExpectFound(newest, "", 8);
  ExpectFound(newest, std::string_view("a\0", 2), 9);
  newest.Store(Version("a", 10));
  ExpectFound(newest, "a", 10);
  EXPECT_FALSE(newest.Find("b", &found));
}

// What another thread finds was stored as it is, and for one key never goes back.
TEST(NewestVersions, OtherThreadsFindWholeVersions) {
  constexpr int64_t kStored = 200'000;
  NewestVersions newest(4 * 256);
  const auto key = [](int64_t mod) { return "key" + std::to_string(mod % 11); };
  std::atomic<bool> ended = false;
  std::atomic<int> found = 0;
  const auto look = [&] {
    std::map<std::string, int64_t> last;
    for (int64_t i = 0; !ended || i < 1'000; ++i) {
      Revision mod;
      bool tombstone = false;
      if (!newest.FindRevision(key(i), &mod, &tombstone)) continue;
      ++found;
      const KeyVersion stored = Version("", mod.main);
      ASSERT_EQ(key(mod.main), key(i));
      ASSERT_EQ(mod, stored.mod);
      ASSERT_EQ(tombstone, stored.tombstone);
      ASSERT_GE(mod.main, last[key(i)]);
      last[key(i)] = mod.main;
    }
  };
  std::thread reader(look);
  std::thread another(look);
  for (int64_t mod = 1; mod <= kStored; ++mod) newest.Store(Version(key(mod), mod));
  ended = true;
  reader.join();
  another.join();
  EXPECT_GT(found, 0);
}

TEST(NewestVersions, KeysThatAreTooLongAreNotKept) {
  NewestVersions newest(1 << 20);
  const std::string longest(NewestVersions::kKeyBytesMax, 'k');
  newest.Store(Version(longest, 1));
  newest.Store(Version(longest + "k", 2));
  ExpectFound(newest, longest, 1);
  KeyVersion found;
  EXPECT_FALSE(newest.Find(longest + "k", &found));
}

TEST(NewestVersions, WithoutMemoryNothingIsKept) {
  NewestVersions newest(255);
  newest.Store(Version("a", 1));
  KeyVersion found;
  EXPECT_FALSE(newest.Find("a", &found));
}

// One set: the version that was written first makes way.
TEST(NewestVersions, TheOldestOfASetMakesWay) {
  NewestVersions newest(256);
  newest.Store(Version("a", 1));
  newest.Store(Version("b", 2));
  newest.Store(Version("a", 3));
  newest.Store(Version("c", 4));
  KeyVersion found;
  EXPECT_FALSE(newest.Find("b", &found));
  ExpectFound(newest, "a", 3);
  ExpectFound(newest, "c", 4);
}

TEST(NewestVersions, AKeyIsForgottenOrRight) {
  Rng rng(1);
  NewestVersions newest(16 << 10);
  std::map<std::string, int64_t> written;
  uint64_t found_count = 0;
  for (int64_t mod = 1; mod < 20'000; ++mod) {
    const std::string key = std::to_string(rng.Below(300));
    KeyVersion found;
    const auto it = written.find(key);
    if (newest.Find(key, &found)) {
      ASSERT_TRUE(it != written.end());
      ASSERT_EQ(found.mod.main, it->second);
      ++found_count;
    }
    newest.Store(Version(key, mod));
    written[key] = mod;
    ExpectFound(newest, key, mod);
  }
  EXPECT_GT(found_count, 1'000u);
}

}  // namespace
}  // namespace raftkv::store
