// What the gateway knows of the storage replicas, in shared memory: written by it alone, read by all. See channel.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "bridge/channel.h"

namespace concord {

// A short text that one writes and others read, who look again if it has changed meanwhile.
template <size_t kBytes>
class SharedText {
 public:
  void Set(std::string_view text) {
    // Odd while it is written; also after a writer that was ended in the middle.
    const uint32_t writing = version_.load(std::memory_order_relaxed) | 1;
    version_.store(writing);
    const size_t size = text.copy(text_, kBytes - 1);
    text_[size] = '\0';
    version_.store(writing + 1, std::memory_order_release);
  }
  // Empty if a writer has ended in the middle.
  void Get(char* to, size_t room) const {
    for (int tries = 0; tries < kTries; tries++) {
      const uint32_t before = version_.load(std::memory_order_acquire);
      const size_t size = strnlen(text_, kBytes < room ? kBytes - 1 : room - 1);
      memcpy(to, text_, size);
      to[size] = '\0';
      std::atomic_thread_fence(std::memory_order_acquire);
      if (before % 2 == 0 && version_.load(std::memory_order_relaxed) == before) return;
    }
    to[0] = '\0';
  }

 private:
  static constexpr int kTries = 100'000;
  std::atomic<uint32_t> version_;
  char text_[kBytes];
};

struct SharedReplica {
  SharedText<CC_REPLICA_ADDRESS_SIZE> address;
  SharedText<CC_REPLICA_ID_SIZE> id;
  SharedText<CC_REPLICA_TROUBLE_SIZE> trouble;
  std::atomic<uint64_t> applied;
  std::atomic<uint64_t> horizon;
  std::atomic<int64_t> latency_us;
  std::atomic<int64_t> heard_ms;  // as NowMs; 0: never
  std::atomic<uint32_t> state;    // CcReplicaState
  std::atomic<uint32_t> is_local;
};

// Of reads through the gateway, since the server started.
struct ReadCounters {
  std::atomic<uint64_t> reads;   // of backends
  std::atomic<uint64_t> bytes;   // of answers
  std::atomic<uint64_t> hedged;  // asked of a second replica, as the first took long
  std::atomic<uint64_t> moved;   // asked of another replica, as one failed
};

struct ReplicaTable {
  std::atomic<uint32_t> count;
  SharedReplica replicas[CC_REPLICAS_MAX];
  // Of this machine's.
  std::atomic<uint32_t> local;          // CcLocalReplica
  std::atomic<uint32_t> local_version;  // grows with each change
  SharedText<CC_REPLICA_PATH_SIZE> local_path;
  ReadCounters read_counters;
};

}  // namespace concord
