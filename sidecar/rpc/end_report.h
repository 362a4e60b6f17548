// Tells who started this process why it could not go on, through a pipe:
//
//   report := kind "\n" reason "\n"
//   kind   := damaged   stored bytes do not hold: nothing helps but a person
//           | refused   the directory is not the one that is wanted, or is of another format
//           | failed    anything else; the next try may fare better
//
// The first report counts. Thread-safe.
#pragma once

#include <atomic>

#include "core/status.h"

namespace concord {

class EndReport {
 public:
  // `fd` < 0: there is nobody to tell.
  explicit EndReport(int fd) : fd_(fd) {}
  void Send(const Status& reason);

 private:
  std::atomic<int> fd_;
};

}  // namespace concord
