// No exception crosses the wall, and none leaves anything behind: each allocation of each scenario fails once.
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>

#include "bridge/encode.h"
#include "bridge/live.h"
#include "bridge/test_replica.h"
#include "bridge/write_set.h"

namespace {
uint64_t allocations_left = 0;  // 0: all succeed; else the one that brings it to 0 fails
}

// NOLINTBEGIN: the whole program's, so that the standard library's allocations fail too
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // inlined, these two do look like new and free
#endif
void* operator new(size_t size) {
  if (allocations_left != 0 && --allocations_left == 0) throw std::bad_alloc();
  void* memory = malloc(size == 0 ? 1 : size);
  if (memory == nullptr) abort();
  return memory;
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
// NOLINTEND

namespace concord::bridge {
namespace {

constexpr uint64_t kRows = Prefix(Space::kRow, 7);
constexpr uint64_t kEntries = Prefix(Space::kEntry, 8);
const uint8_t kToken[16] = {1};

class WallTest : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<TestMutation> mutations;
    for (uint64_t row = 1; row <= 20; row++) {
      mutations.push_back({kRows, RowBody(row), 100, std::string(50, 'v')});
      mutations.push_back({kRows, RowBody(row), 200, std::string(60, 'w')});
      mutations.push_back({kEntries, "entry" + RowBody(row), 100, "e"});
    }
    replica_.Apply(mutations, 300);
  }
  void TearDown() override { EndTransaction(); }

  static void EndTransaction() {
    cc_ws_reset();
    cc_chunk_reset();
    cc_parts_end();
    cc_replica_reset();
  }
  static std::string Live() {
    CcLive live;
    cc_live(&live);
    return std::to_string(live.cursors) + " " + std::to_string(live.scans) + " " + std::to_string(live.views) + " " +
           std::to_string(live.pins) + " " + std::to_string(live.writes);
  }
  // Runs the scenario with its first, second, ... failure until there are no more. It stops at the first status that is
  // not CC_OK, with its objects alive.
  void FailEverywhere(const std::function<CcStatus()>& scenario, const std::function<void(uint64_t)>& arm,
                      const std::function<bool()>& struck, CcStatus expected) {
    uint64_t n = 1;
    for (;; n++) {
      arm(n);
      const CcStatus status = scenario();
      const bool hit = struck();
      ASSERT_EQ(status, hit ? expected : CC_OK) << "failure " << n << ": " << cc_error();
      EndTransaction();  // if nothing has failed yet, here it may
      const bool struck_at_the_end = struck();
      arm(0);
      ASSERT_EQ(Live(), "0 0 0 0 0") << "failure " << n;
      ASSERT_EQ(scenario(), CC_OK) << "after failure " << n << ": " << cc_error();
      EndTransaction();
      if (!struck_at_the_end) break;
    }
    EXPECT_GT(n, 3u);
  }
  void FailAllocations(const std::function<CcStatus()>& scenario) {
    FailEverywhere(
        scenario,
        [](uint64_t n) {
          if (n > 0) cc_replica_close();  // so that opening is a part of it
          allocations_left = n;
        },
        [] { return allocations_left == 0; }, CC_NO_MEMORY);
  }

  TestReplica replica_;
};

#define TRY(call)                               \
  do {                                          \
    const CcStatus try_status = (call);         \
    if (try_status != CC_OK) return try_status; \
  } while (0)

CcStatus Expect(CcStatus status, CcStatus wanted) {
  return status == wanted ? CC_OK : status == CC_OK ? CC_IO_ERROR : status;
}

CcStatus ReadScenario(const char* path) {
  TRY(cc_replica_open(path));
  CcView* view;
  TRY(cc_view_acquire(250, &view));
  cc_view_pin(view);
  char key[16];
  StoreBe64(key, kRows);
  StoreBe64(key + 8, 3);
  const void* value;
  size_t size;
  uint64_t lsn;
  CcView* pinned;
  TRY(cc_replica_get(150, key, sizeof key, &value, &size, &lsn, &pinned));
  uint64_t rows, bytes;
  TRY(cc_replica_counters(kRows, &rows, &bytes));
  CcCursor *forward, *backward, *versions;
  CcEntry entry;
  TRY(cc_cursor_open(kRows, 250, &forward));
  TRY(cc_cursor_seek(forward, nullptr, 0, false, false));
  TRY(cc_cursor_next(forward, false, &entry));
  TRY(cc_cursor_open(kEntries, 250, &backward));
  TRY(cc_cursor_seek(backward, "entry", 5, true, true));
  TRY(cc_cursor_next(backward, true, &entry));
  TRY(cc_cursor_open(kRows, 250, &versions));
  TRY(cc_cursor_seek(versions, nullptr, 0, false, false));
  for (int i = 0; i < 40; i++) TRY(cc_cursor_next_version(versions, &entry));
  TRY(Expect(cc_cursor_next_version(versions, &entry), CC_END));
  cc_cursor_close(forward);
  cc_view_unpin(pinned);
  return CC_OK;
}

CcStatus WriteScenario(const char* path) {
  TRY(cc_replica_open(path));
  uint64_t alias = 0;
  static std::string& body = *new std::string(64, ' ');  // an allocation of the test's own must not fail
  static const std::string& value = *new std::string(3000, 'x');
  for (uint32_t sub = 1; sub <= 3; sub++) {
    cc_ws_sub_begin(sub);
    for (uint64_t row = 1; row <= 10; row++) {
      body.clear();
      AppendBe64(&body, row * sub);
      TRY(cc_ws_put(kRows, body.data(), body.size(), value.data(), value.size(), sub, row == 1, true, &alias));
      TRY(cc_ws_check(kRows, body.data(), body.size(), CC_UPDATE, 100));
      TRY(cc_ws_put(kEntries, body.data(), body.size(), "e", 1, sub, true, false, nullptr));
    }
    TRY(cc_ws_delete(kRows, body.data(), body.size(), sub));
    CcOwn own;
    uint64_t prefix, rowid;
    (void)cc_ws_lookup(kRows, body.data(), body.size(), CC_ALL_COMMANDS, &own);
    (void)cc_ws_oldest(kRows, body.data(), body.size(), &own);
    (void)cc_ws_alias(alias, &prefix, &rowid, &own);
    (void)cc_ws_touches(kEntries);
  }
  CcScan* scan;
  CcVisible visible;
  TRY(cc_scan_open(kRows, 250, CC_ALL_COMMANDS, &scan));
  TRY(cc_scan_seek(scan, nullptr, 0, false, false));
  for (int i = 0; i < 5; i++) TRY(cc_scan_next(scan, false, &visible));
  TRY(cc_scan_seek(scan, nullptr, 0, true, false));
  for (int i = 0; i < 5; i++) TRY(cc_scan_next(scan, true, &visible));
  body.clear();
  AppendBe64(&body, 19);
  TRY(cc_visible_get(kRows, body.data(), body.size(), 250, CC_ALL_COMMANDS, &visible));
  cc_ws_sub_commit(3);
  cc_ws_sub_abort(2);
  cc_ws_forget(kEntries);
  body.clear();
  AppendBe64(&body, 100);
  void* room;
  TRY(cc_ws_put_space(kRows, body.data(), body.size(), 2'500'000, 4, true, true, &alias, &room));
  memset(room, 'l', 2'500'000);
  EXPECT_EQ(cc_ws_encode_begin(kToken, 250, 0, 0), CC_OK);
  const void* part;
  size_t size;
  bool last = false;
  while (!last) TRY(cc_ws_encode_next(&part, &size, &last));
  return Expect(cc_ws_encode_next(&part, &size, &last), CC_END);
}

CcStatus EncodeScenario(const char*) {
  TRY(cc_chunk_begin(kToken, 1));
  static const std::string& value = *new std::string(5000, 'x');
  for (uint64_t row = 0; row < 20; row++) {
    char body[8];
    StoreBe64(body, row);
    TRY(cc_chunk_add(kRows, body, sizeof body, value.data(), value.size(), 0));
  }
  static const std::string& large = *new std::string(2'500'000, 'l');
  TRY(cc_parts_begin(kToken, 1, kRows, "12345678", 8, large.data(), large.size(), 9));
  const void* part;
  size_t size;
  for (bool last = false; !last;) TRY(cc_parts_next(&part, &size, &last));
  cc_parts_end();
  char out[200];
  return cc_encode_counter(kToken, 1, "12345678counter", 15, 3, out, sizeof out, &size);
}

TEST_F(WallTest, NoAllocationMayFailAcrossIt) {
  for (CcStatus (*scenario)(const char*) : {ReadScenario, WriteScenario, EncodeScenario}) {
    ASSERT_EQ(scenario(replica_.path()), CC_OK) << cc_error();
    EndTransaction();
    FailAllocations([&] { return scenario(replica_.path()); });
  }
}

TEST_F(WallTest, ExceptionsBecomeStatus) {
  const std::pair<CcFault, CcStatus> kinds[] = {
      {CC_FAULT_NO_MEMORY, CC_NO_MEMORY}, {CC_FAULT_LENGTH, CC_IO_ERROR}, {CC_FAULT_UNKNOWN, CC_IO_ERROR}};
  for (const auto& [fault, expected] : kinds) {
    FailEverywhere([&] { return ReadScenario(replica_.path()); }, [fault = fault](uint64_t n) { cc_fault(n, fault); },
                   [] { return cc_fault_left() == 0; }, expected);
  }
}

TEST_F(WallTest, ExtremeArgumentsAreRefused) {
  ASSERT_EQ(cc_replica_open(replica_.path()), CC_OK);
  uint64_t alias;
  CcVisible visible;
  const std::string body(70000, 'b');
  EXPECT_EQ(cc_ws_put(kRows, body.data(), body.size(), "v", 1, 1, true, true, &alias), CC_TOO_LARGE);
  EXPECT_EQ(cc_ws_delete(kRows, body.data(), body.size(), 1), CC_TOO_LARGE);
  EXPECT_EQ(cc_ws_check(kRows, body.data(), body.size(), CC_UPDATE, 1), CC_TOO_LARGE);
  EXPECT_EQ(cc_visible_get(kRows, body.data(), body.size(), 250, 1, &visible), CC_TOO_LARGE);
  EXPECT_EQ(cc_ws_put(kRows, "k", 1, body.data(), SIZE_MAX / 2, 1, true, true, &alias), CC_TOO_LARGE);
  EXPECT_EQ(cc_parts_begin(kToken, 1, kRows, "k", 1, body.data(), SIZE_MAX / 2, 0), CC_TOO_LARGE);
  EXPECT_EQ(cc_parts_begin(kToken, 1, kRows, body.data(), body.size(), "v", 1, 0), CC_TOO_LARGE);
  EXPECT_EQ(cc_ws_put(kRows, "k", 1, body.data(), SIZE_MAX - 8, 1, true, true, &alias), CC_TOO_LARGE);
  CcCursor* cursor;
  CcEntry entry;
  ASSERT_EQ(cc_cursor_open(kRows, 250, &cursor), CC_OK);
  ASSERT_EQ(cc_cursor_seek(cursor, body.data(), body.size(), false, false), CC_OK);
  EXPECT_EQ(cc_cursor_next(cursor, false, &entry), CC_END) << cc_error();
}

}  // namespace
}  // namespace concord::bridge
