#include "sidecar/adjudicator/session_stream.h"

#include "core/lsn_page.h"

namespace concord {

bool SessionStream::Admit() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return unanswered_ < kMaxUnanswered || broken_; });
  if (!broken_) unanswered_++;
  return !broken_;
}

void SessionStream::Queue(uint64_t request_id, proto::Outcome outcome, uint64_t lsn, uint64_t conflict_hash,
                          const char* message) {
  const std::lock_guard lock(mutex_);
  if (broken_) return;
  proto::Verdict* verdict = queued_.add_verdicts();
  verdict->set_request_id(request_id);
  verdict->set_outcome(outcome);
  verdict->set_lsn(lsn);
  verdict->set_conflict_hash(conflict_hash);
  verdict->set_message(message);
}

void SessionStream::Flush() {
  std::unique_lock lock(mutex_);
  if (writing_) return;
  writing_ = true;
  proto::SessionReply reply;
  while (queued_.verdicts_size() > 0 && !broken_) {
    reply.Clear();
    reply.Swap(&queued_);
    write_began_us_ = BoottimeUs();
    lock.unlock();
    const bool written = stream_->Write(reply);
    lock.lock();
    unanswered_ -= static_cast<size_t>(reply.verdicts_size());
    if (!written) broken_ = true;
  }
  writing_ = false;
  // Under the lock: once it is free, Close may return and this object's stream be gone.
  changed_.notify_all();
}

void SessionStream::Cancel() {
  const std::lock_guard lock(mutex_);
  broken_ = true;
  if (!gone_) context_->TryCancel();
  changed_.notify_all();
}

void SessionStream::CancelIfStuck() {
  const std::lock_guard lock(mutex_);
  if (!writing_ || gone_ || BoottimeUs() - write_began_us_ < kStuckUs) return;
  broken_ = true;
  context_->TryCancel();
}

void SessionStream::Close() {
  std::unique_lock lock(mutex_);
  broken_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !writing_; });
  gone_ = true;
}

}  // namespace concord
