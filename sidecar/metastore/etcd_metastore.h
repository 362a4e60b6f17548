// The metastore in etcd, for a cluster over many machines: two keys (records.h), each replaced by a transaction that
// compares its last revision, so that of several who replace one, one does; and one for each process, which it writes
// again and again, as that ends with a lease.
//
// etcd syncs before it answers. Whoever sets etcd back, by restoring a backup or deleting the keys, makes it give
// epochs again: docs/operations.md, "etcd".
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "sidecar/metastore/etcd_client.h"
#include "sidecar/metastore/metastore.h"

namespace concord {

class EtcdMetastore : public Metastore {
 public:
  EtcdMetastore(const EtcdClient::Options& options, std::string cluster_id)
      : EtcdMetastore(std::make_unique<EtcdClient>(options), std::move(cluster_id)) {}
  EtcdMetastore(std::unique_ptr<KeyValueStore> client, std::string cluster_id)
      : client_(std::move(client)), cluster_id_(std::move(cluster_id)) {}

  Status ReadLeader(Leader* leader) override;
  Status AcquireLeadership(const Leader& self, uint64_t seen, uint64_t above, uint64_t* epoch) override;
  Status ReadMembership(Membership* membership) override;
  Status WriteMembership(const Membership& membership, uint64_t epoch) override;
  Status ReportProcess(const LiveProcess& process, int seconds) override;
  Status ListProcesses(std::vector<LiveProcess>* processes) override;
  void Cancel() override { client_->Cancel(); }

 private:
  // With the revision of the key; 0, and then *leader is nobody, *membership of version 0, if there is none.
  Status Read(Leader* leader, int64_t* revision);
  Status Read(Membership* membership, int64_t* revision);

  const std::unique_ptr<KeyValueStore> client_;
  const std::string cluster_id_;
};

}  // namespace concord
