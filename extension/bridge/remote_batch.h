// An answer of a replica on another machine, in memory of its own, with a view that keeps it, as LMDB's views keep the
// map's pages. It is freed with the last pin, or when everything is closed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "bridge/registry.h"
#include "bridge/view.h"
#include "core/read_wire.h"

namespace concord::bridge {

struct FreeMemory {
  void operator()(char* memory) const { free(memory); }
};
using RemoteBytes = std::unique_ptr<char, FreeMemory>;  // of malloc, so that it is aligned

class RemoteBatch : public Registered<RemoteBatch> {
 public:
  // Pinned once for the caller. CC_CORRUPT for malformed bytes.
  static CcStatus Make(RemoteBytes bytes, size_t size, RemoteBatch** batch);
  // One value put together from its parts.
  static RemoteBatch* MakeValue(RemoteBytes bytes, const BatchEntry& entry, size_t size);

  CcView* view() { return &view_; }
  void Pin() { view_.pins++; }
  void Unpin() {
    if (view_.pins > 0 && --view_.pins == 0) delete this;
  }
  // The end of a transaction: frees what all of them hold. They themselves stay until the next one, so that a pin that
  // was forgotten can still be given back.
  static void CloseAll();

  // In the order in which they came, and the rows that came with them.
  const std::vector<BatchEntry>& entries() const { return entries_; }
  const std::vector<BatchEntry>& rows() const { return rows_; }
  bool more() const { return more_; }
  // Where it ends, if there may be more behind it: the last entry, or what was passed behind it.
  std::string_view end_key() const { return end_.key; }
  Lsn end_lsn() const { return end_.lsn; }
  Lsn applied() const { return applied_; }
  Lsn horizon() const { return horizon_; }
  size_t size() const { return size_; }

  // Adds those of all batches.
  static void CountPins(size_t* views, size_t* pins) {
    ForEach([&](const RemoteBatch* batch) {
      if (batch->view_.pins > 0) (*views)++;
      *pins += static_cast<size_t>(batch->view_.pins);
    });
  }

 private:
  explicit RemoteBatch(RemoteBytes bytes, size_t size = 0) : bytes_(std::move(bytes)), size_(size) {
    view_.replica = nullptr;
    view_.remote = this;
    view_.pins = 1;
  }
  CcStatus Parse();

  RemoteBytes bytes_;
  size_t size_;
  CcView view_ = {};
  std::vector<BatchEntry> entries_, rows_;
  bool more_ = false;
  BatchEntry end_;
  Lsn applied_ = kNoLsn;
  Lsn horizon_ = kNoLsn;
};

}  // namespace concord::bridge
