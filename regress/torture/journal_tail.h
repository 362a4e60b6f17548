// Follows the server's journal over gRPC and notes which operations are committed, at which LSN, and with how many
// rows. Reconnects for as long as it takes.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/wire.h"
#include "history.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/journal/tail_link.h"

namespace torture {

struct Committed {
  OpId id;
  uint64_t lsn;
  int64_t rows;
};

class JournalTail {
 public:
  JournalTail(const std::string& address, uint64_t after_lsn);
  ~JournalTail();

  // True when everything up to `lsn` has been read.
  bool Reaches(uint64_t lsn, int timeout_ms);
  // What has been read since the last call, in LSN order.
  std::vector<Committed> Take();
  // Not empty if the journal cannot be followed any more, or holds what it must not.
  std::string failure();

 private:
  using Marks = std::map<OpId, int64_t>;  // rows by operation

  void Run();
  void Read(std::string_view frames);
  void Record(const concord::Lsn lsn, std::string_view record);
  static void Count(std::string_view mutations, Marks* marks);
  void Fail(std::string text);

  const std::unique_ptr<concord::proto::Journal::Stub> journal_;
  std::map<concord::Token, std::map<uint32_t, Marks>>
      staged_;  // the thread's own: chunks of undecided transactions, by their sequence numbers

  std::mutex mutex_;  // guards what follows
  std::shared_ptr<concord::TailLink> link_;
  bool stopping_ = false;
  uint64_t read_lsn_;
  std::vector<Committed> committed_;
  std::string failure_;
  std::thread thread_;
};

}  // namespace torture
