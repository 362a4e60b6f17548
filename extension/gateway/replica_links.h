// The gateway's dealings with the storage replicas but for the reads themselves: a thread for each replica meets it,
// tells it what this server still reads at, hears how far it is, and writes all that into the table in shared memory.
//
// While reads go through the gateway a replica is asked every few milliseconds, so that a silent one is seen at once;
// otherwise as often as readers are to be reported.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "bridge/channel_layout.h"
#include "gateway/calls.h"
#include "gateway/log_queue.h"
#include "gateway/remote_reads.h"
#include "proto/storage.grpc.pb.h"

namespace concord {

class ReplicaLinks {
 public:
  struct Options {
    std::vector<std::string> addresses;
    // Of the first one, if something else connects to that address already.
    std::shared_ptr<grpc::Channel> first_channel;
    std::string qp_id;
    int report_ms = 100;
    // The lowest LSN that is read at now or will be before the next report; kNoLsn: none.
    std::function<Lsn()> lowest_read_lsn;
    // The id of our cluster; empty while it is not known. A replica of another one is not read.
    std::function<std::string()> cluster_id;
    bool meets = true;       // false: any replica is ours
    std::string reads_path;  // socket for reads; empty: none
  };

  ReplicaLinks(CcChannel* channel, LogQueue* log, Options options);
  ~ReplicaLinks();
  ReplicaLinks(const ReplicaLinks&) = delete;
  ReplicaLinks& operator=(const ReplicaLinks&) = delete;

  void Start();
  // Ends all calls; the threads end with the object.
  void Stop();

  // The replica whose status is shown: this machine's, or the first that is well.
  size_t shown() const;
  Calls& calls(size_t replica) { return links_[replica]->calls; }
  const std::shared_ptr<grpc::Channel>& channel(size_t replica) const { return links_[replica]->channel; }
  size_t size() const { return links_.size(); }

 private:
  struct Link {
    explicit Link(const std::string& at) : address(at), calls(at) {}
    const std::string address;
    Calls calls;
    std::shared_ptr<grpc::Channel> channel;
    bool met = false;
    bool asked_status = false;
    int64_t look_again_us = 0;       // when it is asked again where its map lies; 0: that is known
    std::set<std::string> troubles;  // told since the last report that came through
    std::thread thread;
  };

  void Run(size_t replica);
  bool Meet(size_t replica, std::string* trouble);
  void LookForMap(size_t replica);
  void SetLocal();
  bool Report(size_t replica, int timeout_ms, std::string* trouble);
  void Publish(size_t replica, const std::string& trouble);
  bool InUse() const;
  bool Pause(int64_t ms);

  CcChannel* const channel_;
  LogQueue* const log_;
  const Options options_;
  std::vector<std::unique_ptr<Link>> links_;
  std::unique_ptr<RemoteReads> reads_;
  std::unique_ptr<class ReadServer> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::vector<std::string> maps_;  // under mutex_: of each replica, the map that lies on this machine
};

}  // namespace concord
