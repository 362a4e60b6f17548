#include "journal_tail.h"

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "core/frame.h"
#include "core/key.h"
#include "sidecar/rpc/server.h"

namespace torture {

using concord::Code;
using concord::Status;

JournalTail::JournalTail(const std::string& address, uint64_t after_lsn)
    : journal_(concord::proto::Journal::NewStub(concord::Connect(address))), read_lsn_(after_lsn) {
  thread_ = std::thread([this] { Run(); });
}

JournalTail::~JournalTail() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (link_ != nullptr) link_->Cancel();
  }
  thread_.join();
}

void JournalTail::Run() {
  std::string frames;
  for (;;) {
    std::shared_ptr<concord::TailLink> link;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_ || !failure_.empty()) return;
      link = link_ = concord::OpenRemoteTail(journal_.get(), read_lsn_, /*gather_ms=*/0);
    }
    for (;;) {
      frames.clear();
      const auto event = link->Next(100000, &frames);
      if (!frames.empty()) Read(frames);
      if (event == concord::TailLink::Event::kEnd) break;
    }
    const Status status = link->Finish();
    if (status.code() == Code::kTooOld) Fail("the journal was trimmed before it was read: " + status.ToString());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void JournalTail::Read(std::string_view frames) {
  while (!frames.empty()) {
    concord::Frame frame;
    size_t consumed;
    const Status status = concord::ParseFrame(frames, &frame, &consumed);
    if (!status.ok()) return Fail("frames that cannot be read: " + status.ToString());
    frames.remove_prefix(consumed);
    {
      const std::lock_guard lock(mutex_);
      if (frame.lsn <= read_lsn_) continue;
      if (frame.prev_lsn > read_lsn_) failure_ = "a gap in the journal before LSN " + std::to_string(frame.lsn);
    }
    Record(frame.lsn, frame.record);
    const std::lock_guard lock(mutex_);
    read_lsn_ = frame.lsn;
  }
}

void JournalTail::Record(concord::Lsn lsn, std::string_view record) {
  const std::string_view body = record.substr(1);
  Marks marks;
  switch (static_cast<concord::RecordType>(record[0])) {
    case concord::RecordType::kChunk: {
      concord::ChunkView chunk;
      if (!concord::ChunkView::Parse(body, &chunk).ok()) return Fail("a chunk that cannot be read");
      if ((chunk.flags & concord::kChunkImmediate) != 0) return;
      // One that was sent again, as its answer was lost, takes the place of the first.
      Marks& staged = staged_[chunk.token][chunk.sequence];
      staged.clear();
      Count(chunk.mutations, &staged);
      return;
    }
    case concord::RecordType::kAbandon: {
      concord::Token token;
      memcpy(token.data(), body.data(), std::min(body.size(), token.size()));
      staged_.erase(token);
      return;
    }
    case concord::RecordType::kCommit: {
      concord::WriteSetView write_set;
      if (!concord::WriteSetView::Parse(body, &write_set).ok()) return Fail("a write set that cannot be read");
      const auto staged = staged_.find(write_set.token());
      if (staged != staged_.end()) {
        if (write_set.chunk_count() > 0)
          for (const auto& [sequence, rows] : staged->second)
            for (const auto& [id, count] : rows) marks[id] += count;
        staged_.erase(staged);
      }
      Count(write_set.mutations(), &marks);
      break;
    }
    default: return;
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [id, rows] : marks) committed_.push_back({id, lsn, rows});
}

void JournalTail::Count(std::string_view mutations, Marks* marks) {
  concord::MutationReader reader(mutations);
  concord::Mutation mutation;
  while (!reader.AtEnd() && reader.Next(&mutation).ok()) {
    if (mutation.op != concord::MutationOp::kPut || concord::KeySpace(mutation.key) != concord::Space::kRow) continue;
    const size_t at = mutation.value.find(kMarkerHead);
    if (at == std::string_view::npos) continue;
    const std::string text(mutation.value.substr(at + kMarkerHead.size(), 40));
    char* end;
    OpId id;
    id.client = static_cast<int>(strtol(text.c_str(), &end, 10));
    if (*end != '.') continue;
    id.number = strtoll(end + 1, &end, 10);
    if (*end == '>') (*marks)[id]++;
  }
}

bool JournalTail::Reaches(uint64_t lsn, int timeout_ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (std::chrono::steady_clock::now() < end) {
    {
      const std::lock_guard lock(mutex_);
      if (read_lsn_ >= lsn) return true;
      if (!failure_.empty()) return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::vector<Committed> JournalTail::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(committed_, {});
}

std::string JournalTail::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void JournalTail::Fail(std::string text) {
  const std::lock_guard lock(mutex_);
  if (failure_.empty()) failure_ = std::move(text);
}

}  // namespace torture
