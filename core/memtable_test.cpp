#include "core/memtable.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "core/key.h"
#include "core/test_directory.h"

namespace concord {
namespace {

using MemtableTest = DirectoryTest;

std::string ValueOf(std::string_view key, Lsn lsn, size_t size) {
  std::string value(key);
  AppendBe64(&value, lsn);
  while (value.size() < size) value += static_cast<char>('a' + (lsn + value.size()) % 26);
  return value;
}

// As a reader does.
Memtable::Answer Get(const Memtable& table, std::string_view key, Lsn applied, Lsn lsn, Lsn* version,
                     std::string* value) {
  Memtable::Version found{};
  Memtable::Answer answer;
  do {
    answer = table.Find(key, applied, lsn, &found);
    if (answer != Memtable::Answer::kFound) return answer;
    value->resize((found.size + 7) / 8 * 8);
  } while (!table.Read(found, value->data()));
  value->resize(found.size);
  *version = found.lsn;
  return answer;
}

TEST_F(MemtableTest, FindsTheNewestVersionNotNewerThanAsked) {
  Memtable writer, reader;
  ASSERT_TRUE(writer.Create(directory_, 5).ok());
  ASSERT_TRUE(reader.Open(directory_).ok());
  const std::string key = RowKey(1, 7);
  ASSERT_TRUE(writer.Add(key, "ten", 10));
  ASSERT_TRUE(writer.Add(key, "twenty", 20));
  ASSERT_TRUE(writer.Add(key, "", 30));
  Lsn version = 0;
  std::string value;
  EXPECT_EQ(Get(reader, key, 5, 10, &version, &value), Memtable::Answer::kNotThere);
  EXPECT_EQ(reader.FindChange(Prefix(Space::kRow, 1), 5, 10), Memtable::Answer::kNotThere);
  writer.Publish(40);
  EXPECT_EQ(Get(reader, key, 5, 10, &version, &value), Memtable::Answer::kFound);
  EXPECT_EQ(value, "ten");
  EXPECT_EQ(Get(reader, key, 5, 29, &version, &value), Memtable::Answer::kFound);
  EXPECT_EQ(value, "twenty");
  EXPECT_EQ(version, 20u);
  EXPECT_EQ(Get(reader, key, 5, 40, &version, &value), Memtable::Answer::kFound);
  EXPECT_EQ(value, "");
  EXPECT_EQ(Get(reader, key, 5, 9, &version, &value), Memtable::Answer::kView);
  EXPECT_EQ(Get(reader, RowKey(1, 8), 5, 40, &version, &value), Memtable::Answer::kView);
  EXPECT_EQ(Get(reader, key, 5, 41, &version, &value), Memtable::Answer::kNotThere);
  EXPECT_EQ(reader.FindChange(Prefix(Space::kRow, 1), 29, 40), Memtable::Answer::kBehind);
  EXPECT_EQ(reader.FindChange(Prefix(Space::kRow, 1), 30, 40), Memtable::Answer::kView);
  EXPECT_EQ(reader.FindChange(Prefix(Space::kRow, 2), 5, 40), Memtable::Answer::kView);
}

// A key that was here may have a newer version that never was.
TEST_F(MemtableTest, WhatWentToTheTreeOnlyHidesWhatIsOlder) {
  Memtable table;
  ASSERT_TRUE(table.Create(directory_, 0).ok());
  ASSERT_TRUE(table.Add(RowKey(1, 1), "old", 10));
  table.Publish(10);
  table.PublishFlushed(20);
  Lsn version = 0;
  std::string value;
  EXPECT_EQ(Get(table, RowKey(1, 1), 0, 20, &version, &value), Memtable::Answer::kBehind);
  EXPECT_EQ(Get(table, RowKey(1, 1), 20, 20, &version, &value), Memtable::Answer::kView);
  EXPECT_EQ(table.FindChange(Prefix(Space::kRow, 2), 19, 20), Memtable::Answer::kBehind);
}

TEST_F(MemtableTest, ANewWriterHasWhatTheTreeHas) {
  Memtable first, reader;
  ASSERT_TRUE(first.Create(directory_, 0).ok());
  ASSERT_TRUE(reader.Open(directory_).ok());
  ASSERT_TRUE(first.Add(RowKey(1, 1), "lost", 10));
  first.Publish(10);
  first.Close();
  Memtable second;
  ASSERT_TRUE(second.Create(directory_, 5).ok());
  Lsn version = 0;
  std::string value;
  EXPECT_EQ(Get(reader, RowKey(1, 1), 5, 10, &version, &value), Memtable::Answer::kNotThere);
  EXPECT_EQ(Get(reader, RowKey(1, 1), 5, 5, &version, &value), Memtable::Answer::kView);
  second.Publish(10);
  EXPECT_EQ(Get(reader, RowKey(1, 1), 5, 10, &version, &value), Memtable::Answer::kView);
}

TEST_F(MemtableTest, IsNotThereBeforeItIsMade) {
  Memtable reader;
  EXPECT_EQ(reader.Open(directory_).code(), Code::kNotFound);
  std::ofstream(directory_ + "/" + kMemtableFile).close();
  EXPECT_EQ(reader.Open(directory_).code(), Code::kNotFound);
  EXPECT_FALSE(reader);
}

TEST_F(MemtableTest, WhoWantsMoreWakesTheWriter) {
  Memtable writer, reader;
  ASSERT_TRUE(writer.Create(directory_, 5).ok());
  ASSERT_TRUE(reader.Open(directory_).ok());
  EXPECT_EQ(writer.AwaitWanted(5, 1000), 5u);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    reader.Want(9);
    reader.Want(7);
  });
  const auto begin = std::chrono::steady_clock::now();
  while (writer.AwaitWanted(5, 60'000'000) <= 5) {
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(50));
  later.join();
  EXPECT_EQ(writer.wanted(), 9u);
}

// Against a model, with views of the tree of any age, over several turns of the ring.
TEST_F(MemtableTest, AgreesWithTheModel) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Memtable table;
  ASSERT_TRUE(table.Create(directory_, 0).ok());
  struct Written {
    Lsn lsn;
    std::string value;
  };
  std::map<std::string, std::vector<Written>> model;
  const auto newest = [&](const std::string& key, Lsn lsn) -> const Written* {
    const Written* at = nullptr;
    for (const Written& written : model[key]) {
      if (written.lsn <= lsn) at = &written;
    }
    return at;
  };
  Lsn lsn = 0, flushed = 0;
  std::vector<Lsn> views = {0};
  uint64_t found = 0, none = 0, unchanged = 0, full = 0;
  for (int round = 0; round < 4000; round++) {
    lsn += 1 + random() % 3;
    bool here = random() % 200 != 0;
    for (uint32_t i = random() % 4; i > 0; i--) {
      const std::string key = RowKey(1 + random() % 3, random() % 40);
      const size_t size = random() % 8 == 0 ? 400'000 : random() % 200;
      const std::string value = random() % 8 == 0 ? "" : ValueOf(key, lsn, size);
      model[key].push_back({lsn, value});
      if (here && !table.Add(key, value, lsn)) {
        here = false;
        full++;
      }
    }
    if (here) {
      table.Publish(lsn);
    } else {
      table.PublishFlushed(lsn);
      flushed = lsn;
    }
    if (random() % 100 == 0) {
      table.Flushed(lsn);
      flushed = lsn;
    }
    if (views.back() != flushed) views.push_back(flushed);
    if (views.size() > 20) views.erase(views.begin());
    for (int look = 0; look < 5; look++) {
      const uint32_t storage = 1 + random() % 3;
      const std::string key = RowKey(storage, random() % 40);
      const Lsn view = views[random() % views.size()];
      const Lsn read = lsn - std::min<Lsn>(lsn, random() % 30);
      const Written* const expected = newest(key, read);
      Lsn version = 0;
      std::string value;
      const Memtable::Answer answer = Get(table, key, view, read, &version, &value);
      ASSERT_NE(answer, Memtable::Answer::kNotThere);
      if (answer == Memtable::Answer::kFound) {
        found++;
        ASSERT_NE(expected, nullptr);
        ASSERT_EQ(version, expected->lsn);
        ASSERT_EQ(value, expected->value);
        ASSERT_GT(version, view);
      } else if (answer == Memtable::Answer::kView) {
        none++;
        ASSERT_EQ(expected, newest(key, std::min(read, view))) << read << " at " << view;
      }
      if (table.FindChange(Prefix(Space::kRow, storage), view, read) != Memtable::Answer::kView) continue;
      unchanged++;
      for (uint64_t row = 0; row < 40; row++)
        ASSERT_EQ(newest(RowKey(storage, row), read), newest(RowKey(storage, row), std::min(read, view)));
    }
  }
  EXPECT_GT(found, 100u);
  EXPECT_GT(none, 100u);
  EXPECT_GT(unchanged, 10u);
  EXPECT_GT(full, 0u);
}

// What is found is whole, and the newest, while the ring is written over again and again.
TEST_F(MemtableTest, ReadersOfAnotherProcessNeverSeeAMixture) {
  constexpr uint64_t kKeys = 64;
  constexpr Lsn kLast = 60'000;
  Memtable writer;
  ASSERT_TRUE(writer.Create(directory_, 0).ok());
  std::atomic<Lsn> published = 0;
  std::atomic<uint64_t> found = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; i++) {
    readers.emplace_back([&, i] {
      Memtable table;
      ASSERT_TRUE(table.Open(directory_).ok());
      std::mt19937 random(static_cast<uint32_t>(i));
      while (published < kLast && !HasFailure()) {
        const Lsn lsn = published;
        // Key n is written at each LSN that is n modulo their number.
        const uint64_t n = random() % kKeys;
        if (lsn < 3 * kKeys) continue;
        const Lsn expected = lsn - (lsn - n) % kKeys;
        const std::string key = RowKey(1, n);
        Lsn version = 0;
        std::string value;
        // With a view of what is old, but not that of the key.
        const Lsn view = expected - 1 - random() % kKeys;
        const Memtable::Answer answer = Get(table, key, view, lsn, &version, &value);
        if (answer == Memtable::Answer::kFound) {
          found++;
          ASSERT_EQ(version, expected);
          ASSERT_EQ(value, ValueOf(key, expected, 2000));
        } else {
          ASSERT_EQ(answer, Memtable::Answer::kBehind);
        }
      }
    });
  }
  for (Lsn lsn = 1; lsn <= kLast; lsn++) {
    const std::string key = RowKey(1, lsn % kKeys);
    if (!writer.Add(key, ValueOf(key, lsn, 2000), lsn)) {
      writer.Flushed(lsn - 1);
      EXPECT_TRUE(writer.Add(key, ValueOf(key, lsn, 2000), lsn));
    }
    writer.Publish(lsn);
    published = lsn;
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_GT(found, 0u);
}

}  // namespace
}  // namespace concord
