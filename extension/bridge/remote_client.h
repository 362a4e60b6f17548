// This process' connection to the gateway's socket: requests go out, answers come in any order.
//
// A request is remembered until it is answered and taken, or forgotten. If the connection breaks, because the gateway
// is started anew, it is made again and what is not answered is sent again. Nothing is held in shared memory: a process
// that dies leaves nothing behind.
//
// Not thread-safe; one backend, one thread. After a fork the child has none of it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "bridge/remote_batch.h"

namespace concord::bridge {

class RemoteClient {
 public:
  static RemoteClient& Get();

  // Never waits. The request is sent now if there is a connection, else with the first wait.
  uint64_t Send(Lsn lsn, std::string request);
  // The answer, pinned once for the caller; the request is then forgotten. CC_INTERRUPTED: ask again, or forget it.
  // With `local_ready`, *local_ready says that the replica of this machine has come as far, and there is no answer.
  CcStatus Await(uint64_t id, RemoteBatch** batch, bool* local_ready);
  void Forget(uint64_t id);
  // Send and Await; what has been interrupted goes on if it is asked for again.
  CcStatus Call(Lsn lsn, const std::string& request, RemoteBatch** batch, bool* local_ready);
  // Forgets all requests.
  void Reset();

 private:
  struct Request {
    Lsn lsn;
    std::string bytes;
    int64_t waited_since_ms = 0;  // 0: nobody has waited for it
    bool answered = false;
    uint32_t status = 0;
    RemoteBytes answer;
    size_t answer_size = 0;
  };

  ~RemoteClient() = default;
  bool Connect();
  void Disconnect();
  void Queue(uint64_t id, const Request& request);
  // Moves what can be moved without waiting. False if the connection broke.
  bool Exchange();
  bool SendSome();
  bool ReceiveSome(bool* progress);
  void Sleep(int64_t ms);
  CcStatus Take(Request request, RemoteBatch** batch);

  int fd_ = -1;
  int64_t tried_ms_ = 0;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, Request> requests_;
  std::unordered_map<std::string, uint64_t> calls_;  // of Call, by LSN and request
  std::string out_;
  size_t sent_ = 0;
  AnswerHeader header_ = {};
  size_t header_got_ = 0;
  RemoteBytes body_;
  size_t body_got_ = 0;
};

}  // namespace concord::bridge
