// A copy of a write set for another process of the same server, which reads with it and never commits it: the workers
// of a parallel query. All versions with their commands and aliases, but no checks.
//
//   copy    := storage*
//   storage := prefix u64 | keys u64 | key*
//   key     := base absent u8 | versions u32 | body size u32 | body | version*       oldest first
//   version := command u32 | deleted u8 | alias u64 | size u64 | value
//
// Little-endian, not aligned. It is made and read by one binary and never kept, so it has no version and no checksum.
#pragma once

#include <string>
#include <string_view>

#include "core/status.h"
#include "core/write_set.h"

namespace concord {

class WriteSetCopy {
 public:
  static std::string Make(const WriteSet& from);
  // Into an empty write set. kInvalid for what is no copy; then `to` is to be reset.
  static Status Take(std::string_view copy, WriteSet* to);
};

}  // namespace concord
