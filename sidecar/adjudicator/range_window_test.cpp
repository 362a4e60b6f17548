// Against a dumb model: every change ever, in a list.
#include "sidecar/adjudicator/range_window.h"

#include <gtest/gtest.h>

#include <random>

#include "core/key.h"
#include "core/read_set.h"
#include "core/test_rounds.h"

namespace concord {
namespace {

// Reads as they come over the wire; the bytes stay with them.
struct Reads {
  std::string bytes;
  ReadsView view;

  Reads(Lsn read_lsn, const std::vector<std::pair<std::string, std::string>>& ranges) {
    ReadSet set;
    for (const auto& [low, high] : ranges) set.Add(low, high);
    set.AppendTo(&bytes, read_lsn);
    std::string_view rest = bytes;
    EXPECT_TRUE(ReadsView::Cut(&rest, &view).ok());
  }
};

std::string Mutations(const std::vector<std::string>& keys, MutationOp op = MutationOp::kDelete) {
  std::string mutations;
  for (const std::string& key : keys) AppendMutation(&mutations, op, key, {});
  return mutations;
}

std::string PrefixBytes(Space space, StorageId storage) {
  std::string prefix;
  AppendBe64(&prefix, Prefix(space, storage));
  return prefix;
}

struct Change {
  Lsn lsn;
  std::string key;
  bool begin;
};

// Keys of one to three bytes of three kinds behind one of two prefixes: short ones begin long ones.
std::string RandomKey(std::mt19937_64* random) {
  std::string key = PrefixBytes(Space::kEntry, static_cast<StorageId>(1 + (*random)() % 2));
  for (uint64_t i = 1 + (*random)() % 3; i > 0; i--) key += "\x00m\xff"[(*random)() % 3];
  return key;
}

TEST(RangeWindow, AgreesWithTheModel) {
  const uint64_t base = std::random_device{}();
  for (uint64_t seed = base; seed < base + Rounds(30); seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    RangeWindow window(0);  // two blocks
    const size_t filler = random() % 3 == 0 ? 0 : 2000;
    std::vector<Change> changes;
    Lsn lsn = 1 + random() % 5;
    const Lsn start = lsn;
    window.Reset(start);
    for (int step = 0; step < 300; step++) {
      lsn += 1 + random() % 3;
      ChangedKeys changed;
      std::vector<std::string> keys;
      for (uint64_t i = random() % 4; i > 0; i--) keys.push_back(RandomKey(&random));
      changed.Add(Mutations(keys));
      for (const auto& key : keys) changes.push_back({lsn, key, false});
      if (random() % 50 == 0) {
        const auto storage = static_cast<StorageId>(1 + random() % 2);
        changed.Add(Mutations({PrefixBytes(Space::kEntry, storage)}, MutationOp::kDropStorage));
        changes.push_back({lsn, PrefixBytes(Space::kEntry, storage), true});
      }
      if (random() % 100 == 0) {
        changed.AddAll();
        changes.push_back({lsn, "", true});
      }
      // Makes blocks full.
      if (filler != 0) changed.Add(Mutations(std::vector<std::string>(random() % filler, RowKey(9, 1))));
      window.Record(changed, lsn);
      ASSERT_LE(window.bytes(), 2 * RangeWindow::kBlockBytes);

      std::vector<std::pair<std::string, std::string>> ranges;
      for (uint64_t i = random() % 4; i > 0; i--) {
        std::string low = RandomKey(&random), high = RandomKey(&random);
        if (high < low) low.swap(high);
        ranges.emplace_back(low, random() % 2 == 0 ? low + '\0' : high);
      }
      const Lsn read_lsn = lsn - random() % (random() % 2 == 0 ? lsn + 1 : 6);
      const Reads reads(read_lsn, ranges);
      bool conflict = false;
      for (const Change& change : changes) {
        for (const KeyRange& range : reads.view.ranges()) {
          const bool in = range.low <= change.key && change.key < range.high;
          const bool below =
              change.begin && range.high > change.key && (range.low <= change.key || range.low.starts_with(change.key));
          if (change.lsn > read_lsn && (in || below)) conflict = true;
        }
      }
      auto expected = conflict ? RangeWindow::Result::kConflict : RangeWindow::Result::kFree;
      if (read_lsn < window.start() && !reads.view.ranges().empty()) expected = RangeWindow::Result::kTooOld;
      std::string_view key;
      ASSERT_EQ(window.Probe(reads.view, &key), expected) << "step " << step;
      // Only what does not fit any more may be forgotten.
      if (filler == 0) {
        ASSERT_EQ(window.start(), start);
      }
    }
    if (filler != 0) {
      EXPECT_GT(window.start(), start);
    }
  }
}

TEST(RangeWindow, ACommitLargerThanItIsKeptByItsStorages) {
  RangeWindow window(0);
  window.Reset(1);
  ChangedKeys changed;
  std::string mutations;
  for (uint64_t row = 0; row < 100000; row++) AppendMutation(&mutations, MutationOp::kPut, RowKey(7, row), "v");
  changed.Add(mutations);
  EXPECT_LE(changed.bytes(), ChangedKeys::kMaxBytes);
  window.Record(changed, 5);
  EXPECT_EQ(window.start(), 1u);
  std::string_view key;
  EXPECT_EQ(window.Probe(Reads(4, {{RowKey(7, 900000), RowKey(7, 900001)}}).view, &key),
            RangeWindow::Result::kConflict);
  EXPECT_EQ(key, PrefixBytes(Space::kRow, 7));
  EXPECT_EQ(window.Probe(Reads(4, {{RowKey(8, 1), RowKey(8, 2)}}).view, &key), RangeWindow::Result::kFree);
  EXPECT_EQ(window.Probe(Reads(5, {{RowKey(7, 1), RowKey(7, 2)}}).view, &key), RangeWindow::Result::kFree);
}

TEST(ChangedKeys, TooManyStoragesAreAnything) {
  ChangedKeys changed;
  for (size_t i = 0; i <= ChangedKeys::kMaxStorages; i++)
    changed.AddStorages(Mutations({RowKey(static_cast<StorageId>(i), 1)}));
  size_t entries = 0;
  changed.ForEach([&](std::string_view bytes, bool begin) {
    entries++;
    EXPECT_TRUE(begin && bytes.empty());
  });
  EXPECT_EQ(entries, 1u);
}

TEST(ChangedKeys, OfWhatHasItsOwnLsnNoStorageCounts) {
  ChangedKeys changed;
  std::string mutations;
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, 1), "v", 55);
  changed.AddStorages(mutations);
  changed.ForEach([](std::string_view, bool) { ADD_FAILURE(); });
  changed.Add(mutations);
  size_t entries = 0;
  changed.ForEach([&](std::string_view bytes, bool begin) {
    entries++;
    EXPECT_FALSE(begin);
    EXPECT_EQ(bytes, RowKey(1, 1));
  });
  EXPECT_EQ(entries, 1u);
}

}  // namespace
}  // namespace concord
