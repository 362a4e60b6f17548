#include "bridge/remote_reads.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "bridge/remote_cache.h"
#include "bridge/remote_client.h"
#include "bridge/remote_cursor.h"
#include "bridge/remote_state.h"

namespace concord::bridge {

RemoteState remote_state;

namespace {

constexpr uint32_t kGetBytes = 1u << 20;
constexpr size_t kRowsAtOnce = 1024;
constexpr uint32_t kScansBytes = 1u << 20;
// The planner asks for the size of each table and index, for each query.
constexpr int64_t kCountersMs = 1000;
constexpr size_t kCountersKept = 1024;

struct Counters {
  uint64_t rows = 0, bytes = 0;
  int64_t since_ms = 0;
};
std::unordered_map<uint64_t, Counters> known_counters;
Lsn newest_lsn = kNoLsn;  // that anything was read at, or is to be seen at
bool estimates = false;   // counters are for the planner

// What the gateway has found out of keys that are not there spares asking for their neighbours.
void LearnAbsent(const RemoteBatch& batch, Lsn lsn) {
  const BatchEntry& entry = batch.entries().front();
  if ((entry.flags & kEntryAbsent) == 0 || entry.value == entry.key) return;
  std::string from(entry.key);
  AppendVersion(&from, lsn);
  Replica::Get().absent().Learn(DatabaseOf(KeyPrefix(entry.key)), from, entry.value, batch.horizon(), batch.applied());
}

// The request that a scan of the range begins with if it expects those rows.
std::string FirstRequest(Lsn lsn, const CcRange& range, uint64_t rows_of) {
  const ScanExpectation expected =
      ExpectRange(range.prefix, range.low, range.low_size, range.high, range.high_size, rows_of);
  const void* const bound = range.backward ? range.high : range.low;
  const size_t size = bound == nullptr ? 0 : range.backward ? range.high_size : range.low_size;
  const std::string_view near(static_cast<const char*>(bound), size);
  RemoteCursor cursor(range.prefix, lsn);
  cursor.Expect(&expected);
  cursor.Place(Position::Seek(near, range.backward, /*prefix_match=*/false), range.backward);
  return cursor.FirstRequest();
}

// The batch that an entry of the answer to many scans is, in memory of its own: who pins a row of it keeps no more.
CcStatus MakeInner(const BatchEntry& entry, RemoteBatch** batch) {
  RemoteBytes bytes(static_cast<char*>(malloc(std::max<size_t>(entry.value.size(), 1))));
  if (bytes == nullptr) throw std::bad_alloc();
  memcpy(bytes.get(), entry.value.data(), entry.value.size());
  return RemoteBatch::Make(std::move(bytes), entry.value.size(), batch);
}

}  // namespace

CcStatus RemoteGet(Lsn lsn, std::string_view key, std::string_view* value, Lsn* version, CcView** view,
                   bool* local_ready) {
  *local_ready = false;
  newest_lsn = std::max(newest_lsn, lsn);
  RemoteCache& cache = RemoteCache::Get();
  const RemoteCache::Found* found = cache.Key(lsn, key);
  if (found == nullptr) {
    std::string request;
    AppendReadHeader(&request, ReadKind::kGet, 0, kGetBytes);
    AppendReadKey(&request, key);
    RemoteBatch* batch;
    const CcStatus status = RemoteClient::Get().Call(lsn, request, &batch, local_ready);
    if (status != CC_OK || *local_ready) return status;
    if (batch->entries().size() != 1 || batch->entries().front().key != key) {
      batch->Unpin();
      return Fail(CC_CORRUPT, "a storage replica did not answer what it was asked");
    }
    LearnAbsent(*batch, lsn);
    cache.AddKeys(lsn, batch, true);
    batch->Unpin();
    found = cache.Key(lsn, key);
  }
  const BatchEntry& entry = found->entry;
  if ((entry.flags & kEntryAbsent) != 0) return CC_END;
  *version = entry.lsn;
  if (entry.value.size() == entry.value_size) {
    found->batch->Pin();
    *value = entry.value;
    *view = found->batch->view();
    return CC_OK;
  }
  RemoteBatch* whole;
  const CcStatus status = FetchWhole(lsn, BatchEntry(entry), &whole, local_ready);
  if (status != CC_OK || *local_ready) return status;
  *value = whole->entries().front().value;
  *view = whole->view();
  return CC_OK;
}

CcStatus RemoteRowsAhead(uint64_t prefix, Lsn lsn, const uint64_t* rowids, size_t count, size_t* ready) {
  newest_lsn = std::max(newest_lsn, lsn);
  RemoteCache& cache = RemoteCache::Get();
  std::string key;
  const auto is_at_hand = [&](uint64_t rowid) {
    key.clear();
    AppendBe64(&key, prefix);
    AppendBe64(&key, rowid);
    return cache.Key(lsn, key) != nullptr;
  };
  std::string request;
  AppendReadHeader(&request, ReadKind::kGet, 0, kGetBytes);
  size_t wanted = 0;
  for (size_t i = 0; i < count && wanted < kRowsAtOnce; i++) {
    if (is_at_hand(rowids[i])) continue;
    AppendReadKey(&request, key);
    wanted++;
  }
  if (wanted > 0) {
    RemoteBatch* batch;
    bool local_ready;
    const CcStatus status = RemoteClient::Get().Call(lsn, request, &batch, &local_ready);
    if (status != CC_OK) return status;
    if (local_ready) {
      *ready = count;
      return CC_OK;
    }
    cache.AddKeys(lsn, batch, true);
    batch->Unpin();
  }
  // What the answer had no room for is asked for when those before it have been used.
  for (*ready = 0; *ready < count && is_at_hand(rowids[*ready]);) (*ready)++;
  return CC_OK;
}

CcStatus RemoteScansAhead(Lsn lsn, const CcRange* ranges, size_t count, size_t* ready, size_t* asked) {
  newest_lsn = std::max(newest_lsn, lsn);
  RemoteCache& cache = RemoteCache::Get();
  cache.MakeRoom(2 * kScansBytes);  // before it is looked into: nothing that is found is to go for what comes
  std::vector<std::string> requests(count);
  std::unordered_set<std::string_view> wanted;
  std::vector<std::string_view> in_order;
  std::string many;
  AppendReadHeader(&many, ReadKind::kMany, 0, kScansBytes);
  for (size_t i = 0; i < count; i++) {
    requests[i] = FirstRequest(lsn, ranges[i], ranges[i].rows_of);
    if (cache.Scan(lsn, requests[i]) != nullptr || wanted.contains(requests[i])) continue;
    if (wanted.size() == kMaxScansInOne || many.size() + requests[i].size() + 2 > kMaxReadRequestBytes) continue;
    wanted.insert(requests[i]);
    in_order.push_back(requests[i]);
    // An answer with rows is one to the request without.
    AppendReadRequest(&many, ranges[i].rows_too != 0 ? FirstRequest(lsn, ranges[i], ranges[i].rows_too) : requests[i]);
  }
  if (!in_order.empty()) {
    RemoteBatch* answer;
    bool local_ready;
    CcStatus status = RemoteClient::Get().Call(lsn, many, &answer, &local_ready);
    // Refused, by replicas that do not know of this yet: then each scan asks by itself.
    if (status == CC_IO_ERROR || (status == CC_OK && local_ready)) {
      *ready = count;
      return CC_OK;
    }
    if (status != CC_OK) return status;
    *asked = in_order.size();
    if (answer->entries().empty() || answer->entries().size() > in_order.size())
      status = Fail(CC_CORRUPT, "a storage replica did not answer what it was asked");
    for (size_t i = 0; status == CC_OK && i < answer->entries().size(); i++) {
      RemoteBatch* batch;
      status = MakeInner(answer->entries()[i], &batch);
      if (status != CC_OK) break;
      cache.AddScan(lsn, in_order[i], batch);
      if (!batch->rows().empty()) cache.AddKeys(lsn, batch, false);
      batch->Unpin();
    }
    answer->Unpin();
    if (status != CC_OK) return status;
  }
  // What the answer had no room for is asked for when those before it have been used.
  for (*ready = 0; *ready < count && cache.Scan(lsn, requests[*ready]) != nullptr;) (*ready)++;
  return CC_OK;
}

CcStatus RemoteCounters(uint64_t prefix, uint64_t* rows, uint64_t* bytes) {
  *rows = *bytes = 0;
  const auto known = known_counters.find(prefix);
  if (estimates && known != known_counters.end() && NowMs() - known->second.since_ms < kCountersMs) {
    *rows = known->second.rows;
    *bytes = known->second.bytes;
    return CC_OK;
  }
  RemoteBatch* batch;
  const CcStatus status = RemoteClient::Get().Call(newest_lsn, EncodeReadNumber(ReadKind::kCounters, 0, prefix), &batch,
                                                   /*local_ready=*/nullptr);
  if (status != CC_OK) return status;
  bool good = true;
  if (!batch->entries().empty()) {
    const std::string_view value = batch->entries().front().value;
    good = value.size() == 2 * sizeof(uint64_t);
    if (good) {
      *rows = LoadLe<uint64_t>(value.data());
      *bytes = LoadLe<uint64_t>(value.data() + sizeof(uint64_t));
    }
  }
  batch->Unpin();
  if (!good) return Fail(CC_CORRUPT, "malformed counters in the storage replica");
  if (known_counters.size() >= kCountersKept) known_counters.clear();
  if (*rows != 0) known_counters[prefix] = {*rows, *bytes, NowMs()};  // of none, there may be some at any moment
  return CC_OK;
}

CcStatus RemoteStorages(uint64_t after, CcStorage* storages, size_t capacity, size_t* count) {
  RemoteBatch* batch;
  const CcStatus status = RemoteClient::Get().Call(
      newest_lsn, EncodeReadNumber(ReadKind::kStorages, static_cast<uint32_t>(capacity), after), &batch,
      /*local_ready=*/nullptr);
  if (status != CC_OK) return status;
  bool good = batch->entries().size() <= capacity;
  for (const BatchEntry& entry : batch->entries()) {
    good = good && entry.key.size() == kPrefixSize && entry.value.size() == 2 * sizeof(uint64_t);
    if (!good) break;
    storages[(*count)++] = {LoadBe64(entry.key.data()), LoadLe<uint64_t>(entry.value.data()),
                            LoadLe<uint64_t>(entry.value.data() + sizeof(uint64_t))};
  }
  batch->Unpin();
  return good ? CC_OK : Fail(CC_CORRUPT, "malformed counters in the storage replica");
}

void RemoteReset() {
  if (!remote_state.used) return;
  remote_state.used = false;
  RemoteCache::Get().Clear();
  RemoteClient::Get().Reset();
  ForgetLarge();
  RemoteBatch::CloseAll();
}

extern "C" void cc_remote_setup(const CcRemoteOptions* options) {
  remote_state.options = *options;
  newest_lsn = kNoLsn;
  known_counters.clear();
}

extern "C" void cc_remote_set(bool enabled, bool only) {
  remote_state.enabled = enabled;
  remote_state.only = enabled && only;
}

extern "C" void cc_remote_note(uint64_t lsn) { newest_lsn = std::max(newest_lsn, lsn); }

bool CountersEstimate() { return estimates; }

extern "C" void cc_remote_estimate(bool begins) { estimates = begins; }

extern "C" CcStatus cc_rows_ahead_try(uint64_t prefix, uint64_t lsn, const uint64_t* rowids, size_t count,
                                      size_t* ready) {
  return Guard([&] {
    *ready = count;
    if (!remote_state.enabled || (!remote_state.only && Replica::Get().IsReadable(lsn))) return CC_OK;
    return RemoteRowsAhead(prefix, lsn, rowids, count, ready);
  });
}

extern "C" CcStatus cc_scans_ahead_try(uint64_t lsn, const CcRange* ranges, size_t count, size_t* ready,
                                       size_t* asked) {
  return Guard([&] {
    *ready = count;
    *asked = 0;
    if (!remote_state.enabled || (!remote_state.only && Replica::Get().IsReadable(lsn))) return CC_OK;
    return RemoteScansAhead(lsn, ranges, count, ready, asked);
  });
}

extern "C" {
void (*cc_serve_interrupts)(void) = nullptr;
}

}  // namespace concord::bridge
