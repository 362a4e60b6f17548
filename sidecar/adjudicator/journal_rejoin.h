// Brings journal nodes that the leader has lost, or did not reach when it took over, back into its epoch: seals them in
// it, brings their logs to where the others' were, and lets the writer go on from there (docs/adjudicator.md, "A node
// that comes back"). The same for one that fell too far behind: it catches up from the disk of another.
//
// One thread of its own, ended by the destructor, which comes before the writer's Stop.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/adjudicator/journal_takeover.h"
#include "sidecar/adjudicator/journal_writer.h"
#include "sidecar/rpc/cancellation.h"

namespace concord {

class JournalRejoin {
 public:
  struct Options {
    uint64_t epoch = 0;
    int retry_ms = 200;
    int call_timeout_ms = 1000;
  };

  // The ensemble is the one that the writer was made with.
  JournalRejoin(const JournalEnsemble& ensemble, const Options& options, JournalWriter* writer);
  ~JournalRejoin();

 private:
  void Run();
  Status Rejoin(size_t node);
  void SetDeadline(CancellableContext* context) const;

  const JournalEnsemble ensemble_;
  const Options options_;
  JournalWriter* const writer_;
  Cancellation cancellation_;
  std::vector<std::string> told_;  // why each node could not join, as logged

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace concord
