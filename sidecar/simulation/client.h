// A simulated query processor with its gateway: list-append transactions, one after another.
//
// It takes its read LSN from whoever says that it leads, reads the lists as of it from any replica, appends, and
// commits with checks of the keys. It asks again with the same token, the same adjudicator or another, as the gateway
// does (extension/gateway): IN_DOUBT always, UNAVAILABLE if it has been sent before; and sometimes too early.
#pragma once

#include <memory>
#include <string>

#include "proto/adjudicator.grpc.pb.h"
#include "sidecar/simulation/cluster.h"
#include "sidecar/simulation/history.h"

namespace concord::simulation {

class Client {
 public:
  struct Options {
    uint64_t rows = 5;
    int64_t pause_max = 50 * kMs;     // between transactions
    int64_t patience = 20 * kSecond;  // for a verdict
  };

  // To be made and run by a fiber of its own node.
  Client(const Options& options, Cluster* cluster, History* history)
      : options_(options), cluster_(cluster), history_(history) {}

  // Until `stop`.
  void Run(const bool* stop);
  // One transaction; its number. It appends to `row` if that is given.
  uint64_t RunOne(int64_t row = -1);

 private:
  using Stream = ClientStream<proto::SessionRequest, proto::SessionReply>;

  bool TakeReadLsn(Transaction* transaction);
  bool Read(Transaction* transaction, const std::vector<uint64_t>& rows);
  std::vector<std::string> Encode(const Transaction& transaction, std::string* write_set);
  void Commit(Transaction* transaction);
  bool OpenSession();
  void CloseSession();
  // False: the stream has ended, or nothing came in time; then *verdict is nobody's.
  bool Await(uint64_t request_id, int64_t until, proto::Verdict* verdict);
  int adjudicator() const { return cluster_->adjudicators()[leader_]; }
  void TryNext() { leader_ = (leader_ + 1) % cluster_->adjudicators().size(); }

  const Options options_;
  Cluster* const cluster_;
  History* const history_;
  size_t leader_ = 0;
  uint64_t last_request_ = 0;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace concord::simulation
