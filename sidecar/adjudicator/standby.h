// What an adjudicator does while another process leads: it follows the journal with a core of its own, so that it need
// not replay much when its turn comes, and watches for that turn.
//
// Whether there is a leader is asked of the journal nodes, since all that a leader can do it does through them. It is
// gone for certain when fewer than W nodes can have heard from it: those that have, and those that do not answer. So a
// leader that only we cannot reach is left alone, and where we cannot reach enough nodes to seal, we do not try.
//
// Thread-safe. One thread for each node asks for its state, one follows.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/adjudicator/adjudicator.h"
#include "sidecar/adjudicator/journal_takeover.h"
#include "sidecar/rpc/cancellation.h"

namespace concord {

class Standby {
 public:
  struct Options {
    AdjudicatorLimits limits;
    int64_t replay_us = int64_t{120} * 1000000;  // as JournalTakeover::Options
    int poll_ms = 50;
    int call_timeout_ms = 200;
    int silence_ms = 1000;  // of the node that is followed, while another one knows of more
  };

  // `core`: of a standby before this one, which is to go on; null: none.
  Standby(const JournalEnsemble& ensemble, const Options& options, std::unique_ptr<Adjudicator> core = nullptr);
  ~Standby();

  enum class Turn : uint8_t { kMine, kNotYet, kCancelled };
  // Waits until nobody can lead, or for so long.
  Turn AwaitTurn(int timeout_ms);
  const JournalEnsemble& ensemble() const { return ensemble_; }
  // The newest record that was followed; kNoLsn: none.
  Lsn followed() const { return followed_.load(std::memory_order_acquire); }
  // From any thread; also ends what a later AwaitTurn would wait for.
  void Cancel();
  // Ends the following. The core, which has replayed the journal up to its last_lsn(); kNoLsn: nothing.
  std::unique_ptr<Adjudicator> Take();

 private:
  enum class Writer : uint8_t { kUnknown, kLive, kGone };

  // Whether a node is the one that it should be: asked before it is believed anything.
  Status Meet(size_t node);
  void Watch(size_t node);
  void Follow();
  // Until the stream ends.
  Status FollowNode(size_t node);
  // The node that is followed has nothing more to say, while others have.
  void LeaveNode();
  // False when cancelled.
  bool Pause(int ms);
  bool TurnHasCome() const;

  const JournalEnsemble ensemble_;
  const Options options_;
  Cancellation cancellation_;

  std::unique_ptr<Adjudicator> core_;  // the follower's, until it has ended
  std::atomic<Lsn> followed_;          // its last_lsn

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<Writer> writers_;  // as each node said last
  bool cancelled_ = false;
  grpc::ClientContext* tail_ = nullptr;  // of the follower's stream

  std::vector<std::thread> watchers_;
  std::thread follower_;
};

}  // namespace concord
