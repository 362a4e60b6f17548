// The gateway's socket for reads (core/read_wire.h, "Between a backend and the gateway"): takes what backends ask and
// hands it to RemoteReads; answers go back in the order in which they come.
//
// One thread waits for connections, requests, room in a connection that is full, and for the time when RemoteReads has
// something to do. Answers are written by whoever brings them, as far as there is room. A backend has few requests
// under way, and each answer is bounded, so what waits for a slow backend is. A connection that ends takes its
// requests with it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "gateway/remote_reads.h"

namespace concord {

class ReadServer {
 public:
  // A backend may have so many requests under way; who sends more is no backend of ours.
  static constexpr size_t kRequestsMax = 4096;

  explicit ReadServer(RemoteReads* reads) : reads_(reads) {}
  ~ReadServer();
  ReadServer(const ReadServer&) = delete;
  ReadServer& operator=(const ReadServer&) = delete;

  // Makes the socket, in place of one that is there. Empty, or what went wrong.
  std::string Start(const std::string& path);
  // The server's thread looks anew at when RemoteReads has something to do. Any thread.
  void Wake();
  void Stop();

 private:
  struct Connection;
  using ConnectionPtr = std::shared_ptr<Connection>;

  void Run();
  void Accept();
  bool Receive(const ConnectionPtr& connection);
  bool OnCall(const ConnectionPtr& connection, const CallHeader& header, std::string_view request);
  void Close(const ConnectionPtr& connection);
  void Deliver(const ConnectionPtr& connection, uint64_t id, ReadStatus status, std::string bytes);
  void Watch(Connection* connection, bool for_room);
  int TimeoutMs();

  RemoteReads* const reads_;
  std::string path_;
  int listen_fd_ = -1, epoll_fd_ = -1, wake_fd_ = -1;
  std::atomic<bool> stopping_ = false;
  std::map<int, ConnectionPtr> connections_;  // the thread's
  std::thread thread_;
};

}  // namespace concord
