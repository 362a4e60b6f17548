// A stretch of keys of which a search has found that the replica holds none: a load into an index asks for one key
// after another where there are none, and need not search for each.
//
// Good for as long as what it was learned from: a state of the replica that had applied `applied` and kept everything
// from `horizon` on. Whatever came later in that storage has a higher LSN. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/key.h"
#include "core/lsn.h"

namespace concord::bridge {

class AbsentRange {
 public:
  // Keys above `low` and below `high`; an empty `high` is the end of the database. Versions stand behind their keys, so
  // those of a key that `high` begins with may stand behind it. Of low's storage only: another one may come between and
  // be loaded, with versions of LSNs before.
  void Learn(int database, std::string_view low, std::string_view high, Lsn horizon, Lsn applied) {
    database_ = database;
    low_.assign(low);
    high_.assign(high);
    if (high_.compare(0, kPrefixSize, low_, 0, kPrefixSize) != 0) {
      high_.clear();
      AppendBe64(&high_, KeyPrefix(low) + 1);
    }
    horizon_ = horizon;
    applied_ = applied;
  }
  void Forget() { applied_ = kNoLsn; }

  bool Covers(int database, std::string_view key, Lsn lsn) const {
    return lsn <= applied_ && lsn >= horizon_ && lsn != kNoLsn && database == database_ && key > low_ &&
           (high_.empty() || (key < high_ && !std::string_view(high_).starts_with(key)));
  }

 private:
  int database_ = 0;
  std::string low_, high_;
  Lsn horizon_ = kNoLsn;
  Lsn applied_ = kNoLsn;
};

}  // namespace concord::bridge
