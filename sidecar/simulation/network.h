// The simulated network, below gRPC's interfaces: calls from node to node, whose messages take time, wait while a link
// is cut, and are lost with their connection.
//
// Each call has a connection of its own: its messages come in order and once, as gRPC promises; those of different
// calls overtake each other. A link may be cut one way. What is sent over it then waits, and comes late when the link
// is whole again, or its connection breaks, which both ends learn at different times or, without a deadline, not until
// they try. When a node dies the calls to and from it end for the others, at once (a process) or later (a machine).
//
// All waiting is of fibers (scheduler.h).
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/sync_stream.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/simulation/scheduler.h"

namespace concord::simulation {

// One call, seen from both ends.
class Call : public std::enable_shared_from_this<Call> {
 public:
  // ---- client ----
  bool ClientWrite(std::string message);
  bool ClientRead(std::string* message);
  void ClientWritesDone();
  grpc::Status Finish();
  void Cancel();  // also from a destructor
  bool admitted() const { return admitted_; }
  bool WaitForInitialMetadata(int64_t until = kNever);
  // Until ClientRead would not wait; false if it still would at that time.
  bool WaitReadable(int64_t until);

  // ---- server ----
  bool ServerRead(std::string* message);
  bool ServerWrite(std::string message);
  void ServerSendInitialMetadata();
  bool IsCancelled() const { return server_broken_; }
  void TryCancel();

 private:
  friend class Network;
  enum class To { kServer, kClient };
  struct Pipe {
    struct Message {
      int64_t ready;
      std::function<void()> deliver;
    };
    std::deque<Message> on_the_way;
    int64_t last_ready = 0;
    std::deque<std::string> arrived;
    size_t unread_bytes = 0;  // written and not read yet
  };

  void Transmit(To to, std::function<void()> deliver);
  void Pump(To to);
  void BreakAtClient(const grpc::Status& status);
  void BreakAtServer();
  int from(To to) const { return to == To::kServer ? client_ : server_; }
  int target(To to) const { return to == To::kServer ? server_ : client_; }
  bool ClientOver() const { return client_broken_ || status_.has_value(); }

  uint64_t id_ = 0;
  std::string method_;
  int client_ = 0, server_ = 0;
  int client_life_ = 0, server_life_ = 0;
  int64_t deadline_ = kNever;
  const grpc::ClientContext* context_ = nullptr;
  Pipe to_server_, to_client_;
  bool writes_done_ = false;  // as the server sees it
  bool client_broken_ = false;
  bool server_broken_ = false;
  bool admitted_ = false;
  bool held_ = true;                    // while its link is cut; else it breaks
  std::optional<grpc::Status> status_;  // arrived at the client
};
using CallPtr = std::shared_ptr<Call>;

class Network {
 public:
  using Handler = std::function<grpc::Status(const CallPtr&)>;

  Network();
  ~Network();

  // What a node offers; forgotten when it dies.
  void Offer(int node, const std::string& method, Handler handler);
  // Not yet listening, or no more: connections are refused.
  CallPtr Begin(grpc::ClientContext* context, int server, const std::string& method);

  void Cut(int from, int to, bool cut);
  bool cut(int from, int to) const { return cuts_.contains({from, to}); }
  void Heal();
  // The longest usual delay of a message; now and then one takes much longer.
  void SetDelay(int64_t ns) { delay_ns_ = ns; }
  // The node has died: who speaks with it learns that now, or much later.
  void Died(int node, bool quietly);

  // ---- gRPC's contexts ----
  void Cancelled(const grpc::ClientContext* context);
  void Serve(const grpc::ServerContextBase* context, const CallPtr& call) { serving_[context] = call; }
  void Served(const grpc::ServerContextBase* context) { serving_.erase(context); }
  CallPtr Serving(const grpc::ServerContextBase* context) const;

 private:
  friend class Call;
  int64_t Delay();
  void Run(const CallPtr& call);
  int life(int node) { return lives_[node]; }
  void Forget(const Call& call) { calls_.erase(call.id_); }
  void Leave(const Call& call);

  int64_t delay_ns_ = 300 * kUs;
  uint64_t last_call_ = 0;
  std::set<std::pair<int, int>> cuts_;
  std::map<int, int> lives_;
  std::map<int, std::map<std::string, Handler>> services_;
  std::map<uint64_t, CallPtr> calls_;                          // those that are not over
  std::map<const grpc::ClientContext*, CallPtr> contexts_;     // looked up only,
  std::map<const grpc::ServerContextBase*, CallPtr> serving_;  // never walked
};

extern Network* network;

// ---- typed faces ----

inline std::string Bytes(const google::protobuf::MessageLite& message) { return message.SerializeAsString(); }

template <typename Request, typename Reply>
grpc::Status CallUnary(grpc::ClientContext* context, int server, const std::string& method, const Request& request,
                       Reply* reply) {
  const CallPtr call = network->Begin(context, server, method);
  call->ClientWrite(Bytes(request));
  call->ClientWritesDone();
  std::string bytes;
  const bool got = call->ClientRead(&bytes);
  const grpc::Status status = call->Finish();
  if (status.ok() && got) reply->ParseFromString(bytes);
  return status;
}

template <typename W, typename R>
class ClientStream final : public grpc::ClientReaderWriterInterface<W, R> {
 public:
  explicit ClientStream(CallPtr call) : call_(std::move(call)) {}
  ~ClientStream() override { call_->Cancel(); }
  void WaitForInitialMetadata() override { call_->WaitForInitialMetadata(); }
  bool NextMessageSize(uint32_t* size) override { return *size = UINT32_MAX, true; }
  bool Read(R* message) override {
    std::string bytes;
    return call_->ClientRead(&bytes) && message->ParseFromString(bytes);
  }
  using grpc::internal::WriterInterface<W>::Write;
  bool Write(const W& message, grpc::WriteOptions) override { return call_->ClientWrite(Bytes(message)); }
  bool WritesDone() override { return call_->ClientWritesDone(), true; }
  grpc::Status Finish() override { return call_->Finish(); }
  Call* call() { return call_.get(); }

 private:
  const CallPtr call_;
};

template <typename R>
class ClientReading final : public grpc::ClientReaderInterface<R> {
 public:
  explicit ClientReading(CallPtr call) : call_(std::move(call)) {}
  ~ClientReading() override { call_->Cancel(); }
  void WaitForInitialMetadata() override { call_->WaitForInitialMetadata(); }
  bool NextMessageSize(uint32_t* size) override { return *size = UINT32_MAX, true; }
  bool Read(R* message) override {
    std::string bytes;
    return call_->ClientRead(&bytes) && message->ParseFromString(bytes);
  }
  grpc::Status Finish() override { return call_->Finish(); }

 private:
  const CallPtr call_;
};

template <typename W, typename R>
class ServerStream final : public grpc::ServerReaderWriterInterface<W, R> {
 public:
  explicit ServerStream(CallPtr call) : call_(std::move(call)) {}
  void SendInitialMetadata() override { call_->ServerSendInitialMetadata(); }
  bool NextMessageSize(uint32_t* size) override { return *size = UINT32_MAX, true; }
  bool Read(R* message) override {
    std::string bytes;
    return call_->ServerRead(&bytes) && message->ParseFromString(bytes);
  }
  using grpc::internal::WriterInterface<W>::Write;
  bool Write(const W& message, grpc::WriteOptions) override { return call_->ServerWrite(Bytes(message)); }

 private:
  const CallPtr call_;
};

template <typename W>
class ServerWriting final : public grpc::ServerWriterInterface<W> {
 public:
  explicit ServerWriting(CallPtr call) : call_(std::move(call)) {}
  void SendInitialMetadata() override { call_->ServerSendInitialMetadata(); }
  using grpc::internal::WriterInterface<W>::Write;
  bool Write(const W& message, grpc::WriteOptions) override { return call_->ServerWrite(Bytes(message)); }

 private:
  const CallPtr call_;
};

// A server's context, known to the network as that of the call.
class Serving {
 public:
  explicit Serving(const CallPtr& call) { network->Serve(&context_, call); }
  ~Serving() { network->Served(&context_); }
  grpc::ServerContext* context() { return &context_; }

 private:
  grpc::ServerContext context_;
};

// A handler of unary calls: `method` is called as the generated service's.
template <typename Request, typename Reply>
Network::Handler Unary(std::function<grpc::Status(grpc::ServerContext*, const Request*, Reply*)> method) {
  return [method](const CallPtr& call) {
    Serving serving(call);
    std::string bytes;
    Request request;
    Reply reply;
    if (!call->ServerRead(&bytes) || !request.ParseFromString(bytes)) return grpc::Status::CANCELLED;
    const grpc::Status status = method(serving.context(), &request, &reply);
    if (status.ok()) call->ServerWrite(Bytes(reply));
    return status;
  };
}

}  // namespace concord::simulation
