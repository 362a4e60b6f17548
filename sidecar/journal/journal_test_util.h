// Shared by this directory's tests: a directory that goes away, and frames by LSN.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "core/frame.h"
#include "sidecar/journal/journal_node.h"

namespace concord::journal {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = testing::TempDir() + "/journal-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Frames with the LSNs first..last, each following the one before; their records are chunks, of no sense.
inline std::string FrameRange(uint64_t epoch, Lsn first, Lsn last, size_t record_bytes = 20) {
  std::string frames;
  for (Lsn lsn = first; lsn <= last; lsn++) {
    AppendFrame(&frames, epoch, lsn, lsn - 1, "\x03" + std::to_string(lsn) + std::string(record_bytes, 'x'));
  }
  return frames;
}

inline AppendInput Input(uint64_t epoch, Lsn first, Lsn last, uint32_t write_quorum = 1, Lsn committed = kNoLsn) {
  return {epoch, committed, write_quorum, FrameRange(epoch, first, last)};
}

}  // namespace concord::journal
