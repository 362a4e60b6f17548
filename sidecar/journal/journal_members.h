// The journal nodes of this process's cluster: those that its options name or, with an etcd, the members of the cluster
// as they are there now. It keeps one channel to each.
//
// Thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/status.h"
#include "sidecar/journal/journal_peer.h"
#include "sidecar/metastore/metastore.h"

namespace concord {

class JournalMembers {
 public:
  struct Options {
    std::string cluster_id;
    // Of this process.
    std::string node_id;
    std::string directory;  // to be named
    // Told of a node of another cluster: what would be followed there are other rows, and what would be sealed,
    // somebody else's commits.
    std::function<void(const Status&)> on_foreign;
  };
  explicit JournalMembers(Options options) : options_(std::move(options)) {}

  // The journal node of this process, which is reached without gRPC if it is a member; it must outlive the peers.
  void SetOwn(journal::JournalNode* node) { own_ = node; }
  // The members for good.
  void Fix(const std::vector<std::string>& addresses, uint32_t write_quorum);
  // The members that the metastore has at any time.
  void Follow(Metastore* store) { store_ = store; }

  // As of now; errors as Metastore::ReadMembership.
  Status Read(std::vector<JournalPeer>* peers, uint32_t* write_quorum);
  JournalPeer Peer(const Member& member);
  // The storage replicas of the membership that was read last; version 0: none was yet.
  std::vector<Member> Storage(uint64_t* version);

 private:
  Status Meet(const Member& member, const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) const;

  const Options options_;
  journal::JournalNode* own_ = nullptr;
  Metastore* store_ = nullptr;
  Membership fixed_;

  std::mutex mutex_;                                              // guards what follows
  std::map<std::string, std::weak_ptr<grpc::Channel>> channels_;  // by address
  std::vector<Member> storage_;
  uint64_t version_ = 0;
};

}  // namespace concord
