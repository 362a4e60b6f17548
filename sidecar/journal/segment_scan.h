// Reads the segments of a journal's directory in order and checks every frame, without changing anything: how the log
// finds its end at open (segment_log_recovery.cpp), and how concordctl verifies a stopped one.
//
// The rules in prose are in docs/journal.md, "Opening". What a crash cut short at the end is no damage; whatever else
// does not hold is kCorruption, naming file and offset.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/lsn.h"
#include "core/status.h"
#include "sidecar/journal/segment_format.h"

namespace concord::journal {

Status Damage(const std::string& path, uint64_t offset, std::string_view what);

// The segments there are, by sequence, and in `*leftovers` the paths of unfinished work.
Status ListSegments(const std::string& directory, std::vector<uint64_t>* sequences,
                    std::vector<std::string>* leftovers);
// Reads all of a segment and checks its header.
Status LoadSegment(const std::string& path, uint64_t sequence, SegmentHeader* header, std::string* bytes);

// The file `state` (docs/journal.md): the sealed epoch and a truncation that was decided, to be redone at open until it
// is known to be complete.
struct SavedState {
  uint64_t sealed_epoch = 0;
  uint64_t cut_sequence = 0;  // 0: none. Later segments go.
  uint64_t group_offset = 0;
  uint64_t zero_from = 0;
  uint64_t zero_to = 0;
  std::string group_header;  // of the group that was cut short; empty if the cut is at group_offset
};
inline constexpr char kStateName[] = "state";
// Leaves `*state` as it is if there is no such file.
Status LoadSavedState(const std::string& directory, SavedState* state);
Status StoreSavedState(const std::string& directory, const SavedState& state);

struct ScannedGroup {
  Lsn prev_lsn;   // of the last frame before it
  Lsn first_lsn;  // of its first frame, kNoLsn for a mark
  Lsn last_lsn;   // of the log at its end
  uint64_t offset;
  uint64_t size;  // with header and padding
  std::string_view frames;
};

class SegmentScanner {
 public:
  struct State {
    Lsn base_lsn = kNoLsn;   // prev_lsn of the oldest frame
    Lsn first_lsn = kNoLsn;  // of the oldest frame
    Lsn last_lsn = kNoLsn;
    uint64_t last_epoch = 0;
    Lsn committed_lsn = kNoLsn;  // the highest that was written into the log
    bool marked = true;          // nothing but a mark follows the last frame's group
    bool torn = false;           // a group at the end was cut short by a crash
    uint64_t frames = 0;
  };

  // The next segment by sequence. `on_group` is called for each whole group.
  Status Next(const std::string& path, uint64_t sequence, SegmentHeader* header,
              const std::function<void(const ScannedGroup&)>& on_group);
  // After the last one.
  Status Finish() const;
  const State& state() const { return state_; }

 private:
  Status ScanGroup(const std::string& path, uint64_t offset, const GroupHeader& header, std::string_view frames,
                   ScannedGroup* group);

  State state_;
  uint64_t first_sequence_ = 0;
  uint64_t sequence_ = 0;  // of the segment before
  std::string path_;
  std::string first_path_;
  uint64_t end_ = 0;
};

}  // namespace concord::journal
