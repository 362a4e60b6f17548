// What scans note as read, against a model: every possible key, each marked once a scan has passed it.
#include "bridge/read_set.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <set>

#include "bridge/reads.h"
#include "bridge/test_replica.h"

namespace concord::bridge {
namespace {

constexpr uint64_t kStorage = Prefix(Space::kEntry, 6);

// Where a scan stands: below the body, or above it.
struct Place {
  std::string body;
  bool after = false;
  bool end = false;
};

bool IsBelow(const std::string& body, const Place& place) {
  return place.end || (place.after ? body <= place.body : body < place.body);
}

class NotedScanTest : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    cc_ws_reset();
    cc_reads_begin(kMaxReadsBytes);
    // None begins another one, as in storage.
    for (const char* first : {"\x01", "a", "\xff"}) {
      bodies_.insert(std::string(first) + '\0');
      for (const char* second : {"\x01", "a", "\xff"}) {
        bodies_.insert(std::string(first) + second + '\0');
        for (const char* third : {"\x01", "a", "\xff"}) bodies_.insert(std::string(first) + second + third + '\0');
      }
    }
  }
  void TearDown() override {
    cc_replica_reset();
    cc_reads_end();
    cc_ws_reset();
  }
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  std::string RandomBody() { return *std::next(bodies_.begin(), Random(static_cast<uint32_t>(bodies_.size()))); }

  void WriteReplica() {
    std::vector<TestMutation> mutations;
    for (uint32_t i = 1 + Random(20); i > 0; i--) {
      TestMutation mutation{kStorage, RandomBody(), ++lsn_, std::nullopt};
      if (Random(4) != 0) mutation.value = "base";
      mutations.push_back(mutation);
    }
    replica_.Apply(mutations, lsn_);
  }
  void WriteOwn() {
    const std::string body = RandomBody();
    const CcStatus status = Random(3) == 0
                                ? cc_ws_delete(kStorage, body.data(), body.size(), 1)
                                : cc_ws_put(kStorage, body.data(), body.size(), "own", 3, 1, false, false, nullptr);
    ASSERT_EQ(status, CC_OK);
  }

  void Seek(bool backward) {
    const std::string body = Random(3) == 0 ? "" : RandomBody();
    ASSERT_EQ(cc_scan_seek(scan_, body.data(), body.size(), backward, false), CC_OK);
    place_ = {body, backward, backward && body.empty()};
  }
  void Bound() {
    low_ = Random(3) == 0 ? "" : RandomBody();
    high_.reset();
    if (Random(3) != 0) high_ = RandomBody();
    ASSERT_EQ(cc_scan_note(scan_, low_.data(), low_.size(), high_ ? high_->data() : nullptr, high_ ? high_->size() : 0),
              CC_OK);
  }
  void Step(bool backward) {
    CcVisible visible;
    Place next{"", false, !backward};
    const CcEntry* entry = cc_scan_take(scan_, backward);
    if (entry == nullptr) {
      const CcStatus status = cc_scan_next(scan_, backward, &visible);
      ASSERT_TRUE(status == CC_OK || status == CC_END);
      if (status == CC_OK) entry = &visible.entry;
    }
    if (entry != nullptr) next = {{reinterpret_cast<const char*>(entry->key), entry->key_size}, !backward, false};
    for (const std::string& body : bodies_) {
      const bool passed =
          backward ? IsBelow(body, place_) && !IsBelow(body, next) : !IsBelow(body, place_) && IsBelow(body, next);
      if (passed && body >= low_ && (!high_ || body < *high_)) read_.insert(body);
    }
    place_ = next;
  }

  void Scan() {
    for (uint32_t i = Random(3); i > 0; i--) WriteOwn();
    ASSERT_EQ(cc_scan_open(kStorage, lsn_, CC_ALL_COMMANDS, &scan_), CC_OK);
    for (uint32_t seeks = 1 + Random(3); seeks > 0; seeks--) {
      bool backward = Random(2) == 0;
      Seek(backward);
      Bound();
      for (uint32_t steps = Random(12); steps > 0; steps--) {
        if (Random(8) == 0) backward = !backward;
        if (Random(8) == 0) WriteOwn();
        if (Random(8) == 0) {
          ASSERT_EQ(cc_scan_rest(scan_), CC_OK);
        }
        Step(backward);
      }
    }
    const bool close_first = Random(2) == 0;
    if (close_first) cc_scan_close(scan_);
    for (const std::string& body : bodies_) {
      bool covers;
      ASSERT_EQ(cc_reads_cover(kStorage, body.data(), body.size(), &covers), CC_OK);
      ASSERT_EQ(covers, read_.contains(body)) << testing::PrintToString(body);
    }
    if (!close_first) cc_scan_close(scan_);
    if (Random(3) != 0) return;
    cc_reads_end();
    cc_reads_begin(kMaxReadsBytes);
    read_.clear();
  }

  std::mt19937_64 random_{GetParam()};
  TestReplica replica_;
  std::set<std::string> bodies_, read_;
  Lsn lsn_ = 100;
  CcScan* scan_ = nullptr;
  Place place_;
  std::string low_;
  std::optional<std::string> high_;
};

TEST_P(NotedScanTest, NotesWhatItHasPassedAndNoMore) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ASSERT_EQ(cc_replica_open(replica_.path()), CC_OK);
  for (int round = 0; round < 5; round++) {
    WriteReplica();  // takes a process: more than all the scans
    for (int scan = 0; scan < 10; scan++) Scan();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, NotedScanTest, testing::Range(1u, 13u));

TEST(NotedReads, GoInFrontOfTheWriteSet) {
  cc_ws_reset();
  cc_reads_begin(1u << 20);
  const uint8_t token[16] = {1};
  ASSERT_EQ(cc_reads_note(kStorage, "a", 1, nullptr, 0), CC_OK);
  ASSERT_EQ(cc_ws_put(kStorage, "k", 1, "v", 1, 1, true, false, nullptr), CC_OK);
  for (const uint64_t reads_lsn : {uint64_t{0}, uint64_t{7}}) {
    ASSERT_EQ(cc_ws_encode_begin(token, 9, 0, reads_lsn), CC_OK);
    const void* part;
    size_t size;
    bool is_write_set;
    ASSERT_EQ(cc_ws_encode_next(&part, &size, &is_write_set), CC_OK);
    ASSERT_TRUE(is_write_set);
    std::string_view commit(static_cast<const char*>(part), size);
    ReadsView reads;
    ASSERT_TRUE(ReadsView::Cut(&commit, &reads).ok());
    ASSERT_EQ(reads.ranges().size(), reads_lsn == 0 ? 0u : 1u);
    EXPECT_EQ(reads.read_lsn(), reads_lsn);
    WriteSetView write_set;
    ASSERT_TRUE(WriteSetView::Parse(commit, &write_set).ok());
    EXPECT_EQ(write_set.mutation_count(), 1u);
  }
  cc_reads_end();
  ASSERT_EQ(cc_reads_note(kStorage, "a", 1, nullptr, 0), CC_OK);
  bool covers;
  ASSERT_EQ(cc_reads_cover(kStorage, "b", 1, &covers), CC_OK);
  EXPECT_FALSE(covers) << "nothing is noted unless it is begun";
  cc_ws_reset();
}

}  // namespace
}  // namespace concord::bridge
