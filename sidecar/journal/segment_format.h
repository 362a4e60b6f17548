// The bytes of a journal segment. Pure functions, no I/O. Integers are little-endian.
//
//   segment := header | zeros up to offset 4096 | group*           of a fixed size, allocated and zeroed beforehand
//   header  := magic u64 | version u32 | crc u32 | sequence u64 | salt u64 | size u64
//   group   := magic u32 | crc u32 | frames_size u32 | frames_crc u32 | prev_lsn u64 | committed_lsn u64
//              | frame* (core/frame.h) | zeros to a multiple of 8
//
// A group is what one sync made durable: all of it counts or none. Its crc covers (salt, offset in the segment, the
// header's rest), frames_crc the frames and the zeros after them. The salt is random and new each time a file becomes a
// segment, so what a recycled file held in its former life never looks like a group, at no cost of zeroing it.
//
// A group is written only after everything before it has been synced. So a group's header that is valid proves that all
// bytes before it were once durable: a bad place with a valid group behind it is damage, one with nothing valid behind
// it is a write that a crash cut short. A group without frames is a mark that says just that; prev_lsn is the LSN of
// the last frame before the group, 0 if none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/lsn.h"
#include "core/status.h"

namespace concord::journal {

inline constexpr uint32_t kSegmentVersion = 1;
inline constexpr uint64_t kSegmentHeaderSize = 40;
inline constexpr uint64_t kFirstGroupOffset = 4096;  // the header's block is never rewritten
inline constexpr uint64_t kGroupHeaderSize = 32;
inline constexpr uint64_t kGroupAlignment = 8;

struct SegmentHeader {
  uint64_t sequence = 0;
  uint64_t salt = 0;
  uint64_t size = 0;  // of the file
};

struct GroupHeader {
  Lsn prev_lsn = kNoLsn;
  Lsn committed_lsn = kNoLsn;  // as known when the group was written
  uint32_t frames_size = 0;    // without padding
};

inline constexpr uint64_t PadGroup(uint64_t size) { return (size + kGroupAlignment - 1) & ~(kGroupAlignment - 1); }

std::string EncodeSegmentHeader(const SegmentHeader& header);
// `bytes` are the first kSegmentHeaderSize of the file. kCorruption, or kInvalid for a version that is not known;
// without a place, which the caller knows.
Status ParseSegmentHeader(std::string_view bytes, SegmentHeader* header);

// Makes a group in place: `*group` is kGroupHeaderSize bytes of room, then frames. Pads and fills in the header.
void SealGroup(std::string* group, uint64_t salt, uint64_t offset, Lsn prev_lsn, Lsn committed_lsn);

enum class GroupState {
  kNone,  // no group's header here
  kTorn,  // a header, but `bytes` do not hold its frames
  kWhole,
};
// Looks at the front of `bytes`, which lie at `offset` of the segment.
GroupState ParseGroup(std::string_view bytes, uint64_t salt, uint64_t offset, GroupHeader* header,
                      std::string_view* frames);

// Whether a valid group header lies anywhere in `bytes`, which lie at `offset` (a multiple of 8).
bool ContainsGroupHeader(std::string_view bytes, uint64_t salt, uint64_t offset);

// "0000000000000007.segment"; the sequence of such a name, or 0.
std::string SegmentName(uint64_t sequence);
uint64_t SegmentSequence(std::string_view name);

}  // namespace concord::journal
