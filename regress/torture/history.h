// What the clients of a torture run did: one Op for each transaction that they tried to commit.
//
// Every row that a transaction writes carries its marker, "<op client.number>", so the journal tells which operations
// are committed, in which order, and whether whole.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace torture {

enum class Kind { kInsert, kBatch, kBulk, kRemove, kTransfer, kAppend, kClaim, kRelease };
enum class Outcome { kAcknowledged, kRefused, kUnknown };

struct OpId {
  int client = 0;
  int64_t number = 0;
  auto operator<=>(const OpId&) const = default;
};

struct Op {
  OpId id;
  Kind kind = Kind::kInsert;
  int64_t key = 0;     // first row of items; account; list; claim
  int64_t other = 0;   // the account that gets the amount
  int64_t amount = 0;  // of a transfer; rows of a batch
  Outcome outcome = Outcome::kRefused;
  std::string error;        // as the client was told
  int64_t sent_us = 0;      // when its commit was sent, and
  int64_t answered_us = 0;  // when the answer was there
  uint64_t read_lsn = 0;    // concord.current_lsn(), asked for after the answer; 0 if not asked
  int64_t read_us = 0;      // when that was there
};

inline int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline std::string Name(const OpId& id) { return std::to_string(id.client) + "." + std::to_string(id.number); }
inline std::string Marker(const OpId& id) { return "<op " + Name(id) + ">"; }

inline constexpr std::string_view kMarkerHead = "<op ";

// Rows with the marker that the operation writes.
inline int64_t MarkedRows(const Op& op) {
  switch (op.kind) {
    case Kind::kBatch:
    case Kind::kBulk: return op.amount;
    case Kind::kTransfer: return 2;
    default: return 1;
  }
}

}  // namespace torture
