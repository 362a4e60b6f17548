// The reply side of one Session stream: verdicts from any thread, written in the order of Queue, batched.
//
// The thread that calls Flush writes to the stream itself if no other is doing so; what is queued meanwhile goes into
// the next message. A client that does not read cannot hold up the others for long: CancelIfStuck ends its stream.
// Thread-safe. Bounded: the session's reader calls Admit before it takes more requests.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "proto/adjudicator.grpc.pb.h"

namespace concord {

class SessionStream {
 public:
  using Stream = grpc::ServerReaderWriterInterface<proto::SessionReply, proto::SessionRequest>;
  static constexpr size_t kMaxUnanswered = 16384;
  static constexpr int64_t kStuckUs = 2000000;

  SessionStream(grpc::ServerContext* context, Stream* stream) : context_(context), stream_(stream) {}

  // A request has been taken that will get a verdict. Blocks while too many have none yet; false if the stream is
  // broken.
  bool Admit();
  void Queue(uint64_t request_id, proto::Outcome outcome, uint64_t lsn, uint64_t conflict_hash, const char* message);
  void Flush();

  // Ends the stream: its reader returns. From any thread.
  void Cancel();
  void CancelIfStuck();
  // The stream is about to be destroyed; waits for a write under way. Verdicts that come later are dropped.
  void Close();

 private:
  grpc::ServerContext* const context_;
  Stream* const stream_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  proto::SessionReply queued_;
  size_t unanswered_ = 0;  // requests without a written verdict
  int64_t write_began_us_ = 0;
  bool writing_ = false;
  bool broken_ = false;  // nothing more is written
  bool gone_ = false;    // context and stream may be destroyed
};

}  // namespace concord
