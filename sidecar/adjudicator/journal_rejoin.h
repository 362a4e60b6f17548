// Brings journal nodes that the leader has lost, or did not reach when it took over, back into its epoch: seals them in
// it, brings their logs to where the others' were, and lets the writer go on from there (docs/adjudicator.md, "A node
// that comes back"). The same for one that fell too far behind: it catches up from the disk of another. And for one
// that is to become a member.
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

  // `peers`: those that the writer was made with.
  JournalRejoin(std::vector<JournalPeer> peers, const Options& options, JournalWriter* writer);
  ~JournalRejoin();

  // Another node, that the writer is told of too; its index there.
  size_t Add(const JournalPeer& peer);

 private:
  void Run();
  Status Rejoin(size_t node);
  JournalPeer Peer(size_t node);
  void SetDeadline(CancellableContext* context) const;

  const Options options_;
  JournalWriter* const writer_;
  Cancellation cancellation_;

  std::mutex mutex_;                // guards what follows
  std::vector<JournalPeer> peers_;  // by the writer's indexes
  std::vector<std::string> told_;   // why each could not join, as logged
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace concord
