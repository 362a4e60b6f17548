#include "gateway/outbox.h"

#include <algorithm>
#include <utility>

namespace concord {

Batch::~Batch() {
  // The message only borrowed its requests.
  while (message_.commits_size() > 0) message_.mutable_commits()->UnsafeArenaReleaseLast();
  while (message_.chunks_size() > 0) message_.mutable_chunks()->UnsafeArenaReleaseLast();
}

void Batch::Add(OutRequestPtr request) {
  bytes_ += request->payload().size();
  if (request->sends > 1) resent_++;
  if (request->kind == CC_REQ_CHUNK)
    message_.mutable_chunks()->UnsafeArenaAddAllocated(&request->chunk);
  else
    message_.mutable_commits()->UnsafeArenaAddAllocated(&request->commit);
  requests_.push_back(std::move(request));
}

void Outbox::Add(OutRequestPtr request) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = request->sequence * by_slot_.size() + static_cast<uint64_t>(request->slot);
  if (request->kind == CC_REQ_CHUNK)
    request->chunk.set_request_id(id);
  else
    request->commit.set_request_id(id);
  OutRequestPtr& place = by_slot_[static_cast<size_t>(request->slot)];
  Leave(place);
  place = request;
  queue_.push_back(std::move(request));
}

void Outbox::Fill(Batch* batch, int64_t now_us) {
  const std::lock_guard lock(mutex_);
  const auto is_chunk = [](const OutRequestPtr& request) { return request->kind == CC_REQ_CHUNK; };
  if (under_way_ > queue_.size() && !queue_.empty() && std::none_of(queue_.begin(), queue_.end(), is_chunk)) {
    if (held_since_us_ == 0) held_since_us_ = now_us;
    if (now_us - held_since_us_ < kHoldUs) return;
  }
  held_since_us_ = 0;
  std::deque<OutRequestPtr> later;
  while (!queue_.empty() && batch->size() < kBatchRequestsMax && batch->bytes() < kBatchBytesMax) {
    OutRequestPtr request = std::move(queue_.front());
    queue_.pop_front();
    if (!IsCurrent(request)) continue;
    if (request->not_before_us > now_us) {
      later.push_back(std::move(request));
      continue;
    }
    if (request->slot != own_slot() && !MarkSent(channel_, request->slot, request->sequence)) {
      by_slot_[static_cast<size_t>(request->slot)].reset();
      continue;
    }
    request->sends++;
    request->sent_us = now_us;
    if (!is_chunk(request)) {
      request->under_way = true;
      under_way_++;
    }
    batch->Add(std::move(request));
  }
  queue_.insert(queue_.end(), later.begin(), later.end());
}

OutRequestPtr Outbox::Settle(uint64_t request_id) {
  const std::lock_guard lock(mutex_);
  OutRequestPtr& place = by_slot_[request_id % by_slot_.size()];
  if (place == nullptr || place->sequence != request_id / by_slot_.size()) return nullptr;
  Leave(place);
  return std::exchange(place, nullptr);
}

bool Outbox::Holds() const {
  const std::lock_guard lock(mutex_);
  return held_since_us_ != 0;
}

bool Outbox::NeedsFill(size_t coming) const {
  const std::lock_guard lock(mutex_);
  return held_since_us_ != 0 && under_way_ <= queue_.size() + coming;
}

size_t Outbox::Unanswered() const {
  const std::lock_guard lock(mutex_);
  return by_slot_.size() - static_cast<size_t>(std::count(by_slot_.begin(), by_slot_.end(), nullptr));
}

void Outbox::Retry(OutRequestPtr request, int64_t not_before_us) {
  const std::lock_guard lock(mutex_);
  OutRequestPtr& place = by_slot_[static_cast<size_t>(request->slot)];
  if (place != nullptr) return;  // its backend has begun a new request meanwhile
  request->not_before_us = not_before_us;
  place = request;
  queue_.push_back(std::move(request));
}

void Outbox::SendAllAgain() {
  const std::lock_guard lock(mutex_);
  queue_.clear();
  under_way_ = 0;
  held_since_us_ = 0;
  for (const OutRequestPtr& request : by_slot_) {
    if (request == nullptr) continue;
    request->not_before_us = 0;
    request->under_way = false;
    queue_.push_back(request);
  }
}

// Needs mutex_. The request is waited for no more.
void Outbox::Leave(const OutRequestPtr& request) {
  if (request == nullptr || !std::exchange(request->under_way, false)) return;
  under_way_--;
}

}  // namespace concord
