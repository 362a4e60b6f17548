#include "bridge/remote_batch.h"

namespace concord::bridge {

CcStatus RemoteBatch::Make(RemoteBytes bytes, size_t size, RemoteBatch** out) {
  std::unique_ptr<RemoteBatch> batch(new RemoteBatch(std::move(bytes), size));
  const CcStatus status = batch->Parse();
  if (status == CC_OK) *out = batch.release();
  return status;
}

RemoteBatch* RemoteBatch::MakeValue(RemoteBytes bytes, const BatchEntry& entry, size_t size) {
  std::unique_ptr<RemoteBatch> batch(new RemoteBatch(std::move(bytes), size));
  batch->entries_.push_back({entry.lsn, size, 0, {}, {batch->bytes_.get(), size}});
  return batch.release();
}

void RemoteBatch::CloseAll() {
  std::vector<RemoteBatch*> closed;
  ForEach([&](RemoteBatch* batch) {
    if (batch->view_.pins == 0) closed.push_back(batch);
    batch->view_.pins = 0;
    batch->bytes_.reset();
    batch->end_ = {};
    std::vector<BatchEntry>().swap(batch->entries_);
    std::vector<BatchEntry>().swap(batch->rows_);
  });
  for (RemoteBatch* batch : closed) delete batch;
}

CcStatus RemoteBatch::Parse() {
  BatchReader reader;
  bool good = BatchReader::Open({bytes_.get(), size_}, &reader);
  if (good) entries_.reserve(std::min<size_t>(reader.count(), size_ / kBatchEntryHeaderSize));
  for (uint32_t i = 0; good && i < reader.count(); i++) {
    BatchEntry entry;
    good = reader.Next(&entry) && entry.key.size() >= kPrefixSize;
    if (!good) break;
    if ((entry.flags & kEntryRow) != 0) {
      rows_.push_back(entry);
      continue;
    }
    end_ = entry;
    if ((entry.flags & kEntryPassed) == 0) entries_.push_back(entry);
  }
  if (!good) return Fail(CC_CORRUPT, "a storage replica sent malformed bytes");
  if (reader.more() && end_.key.empty()) return Fail(CC_CORRUPT, "a storage replica sent an empty batch");
  more_ = reader.more();
  applied_ = reader.applied();
  horizon_ = reader.horizon();
  return CC_OK;
}

}  // namespace concord::bridge
