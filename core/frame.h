// A journal frame: one record with its place in the log. The same bytes travel in Append and Tail and lie in segments.
//
//   frame := size u32 | crc u32 | epoch u64 | lsn u64 | prev_lsn u64 | record      little-endian
//   size  = bytes of record; crc = crc32c of everything after the crc field, then of `size`
//
// A size of 0 with crc 0 is the end of what was written (segments are preallocated with zeros).
#pragma once

#include <string>
#include <string_view>

#include "core/lsn.h"
#include "core/status.h"

namespace concord {

inline constexpr size_t kFrameHeaderSize = 32;

struct Frame {
  uint64_t epoch;
  Lsn lsn;
  Lsn prev_lsn;
  std::string_view record;  // type u8, body: core/wire.h
};

// Appends the frame of a record given in pieces (they are concatenated).
void AppendFrame(std::string* to, uint64_t epoch, Lsn lsn, Lsn prev_lsn, std::string_view record_type_and_head,
                 std::string_view record_rest = {});

// Reads the frame at the front of `bytes`. kNotFound at zeros or at the end; kInvalid if bytes end inside it (which may
// be a torn write); kCorruption if the checksum does not hold. On Ok `*consumed` is the frame's length.
Status ParseFrame(std::string_view bytes, Frame* frame, size_t* consumed);

}  // namespace concord
