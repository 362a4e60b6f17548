// The load of the crash test: transactions of known effect, sent to a concordd over its services, and the comparison of
// what is there afterwards with what they should have left.
//
// One Session stream, so commits are in the order of sending and the state after a crash is that after the first m
// transactions, m being written in a row by each of them. Everything is compared: rows, index entries, values; so a
// transaction that is there in part, or in another order, is seen, and the sum of the accounts with it. Values come in
// parts that chunks cut, tables are loaded with immediate chunks and dropped, other chunks are abandoned, or left. What
// is in a storage that is dropped, or was loaded and not committed, is nobody's and may be there.
//
// Thread safety: one thread calls; the replies are read by a thread inside.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/key.h"
#include "core/lsn.h"
#include "core/wire.h"
#include "proto/adjudicator.grpc.pb.h"
#include "proto/storage.grpc.pb.h"

namespace concord::crash {

using Random = std::mt19937_64;

class Load {
 public:
  explicit Load(uint64_t seed);

  // Waits until `address` commits, and looks: an empty string, or what is wrong. At least the first `least`
  // transactions must be there. Later transactions go on from what was found. `alive`: whether it is worth waiting.
  std::string Check(const std::string& address, uint64_t least, const std::function<bool()>& alive);
  // Sends up to `count` transactions; each acknowledged one is recorded in the file `acknowledged` (recording.h). Ends
  // early when the stream breaks. An empty string, or what is wrong.
  std::string Run(const std::string& address, size_t count, int acknowledged);

  uint64_t found() const { return found_; }  // transactions at the last Check
  uint64_t sent() const { return found_ + transactions_.size(); }

 private:
  using State = std::map<std::string, std::string>;
  struct Transaction {
    Token token;
    std::map<std::string, std::optional<std::string>> changes;  // null: deleted
    std::vector<std::string> immediate;                         // chunks of a table that nobody else sees yet
    std::vector<std::string> chunks;                            // staged ones
    std::string write_set;
  };

  Transaction Next();
  void Encode(std::optional<StorageId> loaded, std::optional<StorageId> dropped, Transaction* out);
  std::optional<StorageId> AnyLoaded();
  std::string Read(proto::Storage::Stub* storage, Lsn read_lsn, State* state) const;
  std::string CheckResend(proto::Adjudicator::Stub* adjudicator) const;

  Random random_;
  StorageId next_loaded_;
  State base_;   // after found_ transactions
  State state_;  // after all of transactions_
  uint64_t found_ = 0;
  Lsn read_lsn_ = kNoLsn;                  // of the last Check
  std::vector<Transaction> transactions_;  // sent since
  std::optional<Transaction> last_;        // the last that was found, to be asked for again
};

}  // namespace concord::crash
