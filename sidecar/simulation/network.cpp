#include "sidecar/simulation/network.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>

// gRPC lets this class of its own tests look into a context; here it is the simulation's.
namespace grpc::testing {
class InteropClientContextInspector {
 public:
  static bool Cancelled(const grpc::ClientContext& context) { return context.call_canceled_; }
};
}  // namespace grpc::testing

// In place of libgrpc++'s: there is no call of its own below these contexts.
namespace grpc {
void ClientContext::TryCancel() {
  static const auto real =
      reinterpret_cast<void (*)(ClientContext*)>(dlsym(RTLD_NEXT, "_ZN4grpc13ClientContext9TryCancelEv"));
  real(this);  // remembers it, for a call that has not begun
  if (concord::simulation::network != nullptr) concord::simulation::network->Cancelled(this);
}
void ServerContextBase::TryCancel() const {
  if (const auto call = concord::simulation::network->Serving(this)) call->TryCancel();
}
bool ServerContextBase::IsCancelled() const {
  const auto call = concord::simulation::network->Serving(this);
  return call == nullptr || call->IsCancelled();
}
}  // namespace grpc

namespace concord::simulation {
namespace {

constexpr size_t kWindowBytes = 64u << 10;    // not read, before a writer has to wait
constexpr int64_t kConnectNs = kSecond;       // before a connection that is not answered is given up
constexpr int64_t kBreakNsMax = 3 * kSecond;  // before an end notices that its connection is dead

int64_t UpTo(int64_t ns) { return static_cast<int64_t>(scheduler->Below(static_cast<uint64_t>(ns) + 1)); }

int64_t BreakDelay() { return UpTo(scheduler->Chance(500) ? kBreakNsMax / 30 : kBreakNsMax); }

grpc::Status Unavailable(const char* reason) { return {grpc::StatusCode::UNAVAILABLE, reason}; }

}  // namespace

Network* network = nullptr;

// ---- Call ----

void Call::Transmit(To to, std::function<void()> deliver) {
  Pipe& pipe = to == To::kServer ? to_server_ : to_client_;
  pipe.last_ready = std::max(pipe.last_ready + 1, scheduler->now() + network->Delay());
  pipe.on_the_way.push_back({pipe.last_ready, std::move(deliver)});
  scheduler->At(pipe.last_ready, [self = shared_from_this(), to] { self->Pump(to); });
}

void Call::Pump(To to) {
  Pipe& pipe = to == To::kServer ? to_server_ : to_client_;
  while (!pipe.on_the_way.empty() && pipe.on_the_way.front().ready <= scheduler->now()) {
    if (network->cut(from(to), target(to))) return;  // until it is whole again
    const bool broken = to == To::kServer ? server_broken_ : client_broken_;
    const bool dead = network->life(target(to)) != (to == To::kServer ? server_life_ : client_life_);
    const auto deliver = std::move(pipe.on_the_way.front().deliver);
    pipe.on_the_way.pop_front();
    if (broken || dead) continue;
    scheduler->Note(id_ << 1 | (to == To::kServer ? 1 : 0));
    deliver();
  }
}

bool Call::ClientWrite(std::string message) {
  scheduler->MayPreempt();
  while (to_server_.unread_bytes > kWindowBytes && !ClientOver() && scheduler->now() < deadline_)
    scheduler->Block(&to_server_, deadline_);
  if (ClientOver()) return false;
  to_server_.unread_bytes += message.size();
  Transmit(To::kServer, [this, message = std::move(message)]() mutable {
    to_server_.arrived.push_back(std::move(message));
    scheduler->WakeAll(&server_broken_);
  });
  return true;
}

void Call::ClientWritesDone() {
  if (ClientOver()) return;
  Transmit(To::kServer, [this] {
    writes_done_ = true;
    scheduler->WakeAll(&server_broken_);
  });
}

bool Call::ClientRead(std::string* message) {
  scheduler->MayPreempt();
  while (to_client_.arrived.empty() && !ClientOver()) {
    if (scheduler->now() >= deadline_) {
      BreakAtClient({grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"});
      Transmit(To::kServer, [this] { BreakAtServer(); });
      break;
    }
    scheduler->Block(&client_broken_, deadline_);
  }
  if (client_broken_ || to_client_.arrived.empty()) return false;
  *message = std::move(to_client_.arrived.front());
  to_client_.arrived.pop_front();
  to_client_.unread_bytes -= message->size();
  scheduler->WakeAll(&to_client_);
  return true;
}

bool Call::WaitForInitialMetadata(int64_t until) {
  until = std::min(until, deadline_);
  while (!admitted_ && to_client_.arrived.empty() && !ClientOver() && scheduler->now() < until)
    scheduler->Block(&client_broken_, until);
  return admitted_ || !to_client_.arrived.empty();
}

bool Call::WaitReadable(int64_t until) {
  while (to_client_.arrived.empty() && !ClientOver()) {
    if (scheduler->now() >= until) return false;
    scheduler->Block(&client_broken_, std::min(until, deadline_));
    if (scheduler->now() >= deadline_) return true;
  }
  return true;
}

grpc::Status Call::Finish() {
  while (!status_.has_value()) {
    if (scheduler->now() >= deadline_) {
      BreakAtClient({grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"});
      Transmit(To::kServer, [this] { BreakAtServer(); });
      break;
    }
    scheduler->Block(&client_broken_, deadline_);
  }
  network->Leave(*this);
  return *status_;
}

void Call::Cancel() {
  network->Leave(*this);
  if (ClientOver()) return;
  BreakAtClient(grpc::Status::CANCELLED);
  Transmit(To::kServer, [this] { BreakAtServer(); });
}

void Call::BreakAtClient(const grpc::Status& status) {
  if (!status_.has_value()) status_ = status;
  client_broken_ = true;
  scheduler->WakeAll(&client_broken_);
  scheduler->WakeAll(&to_server_);
}

void Call::BreakAtServer() {
  server_broken_ = true;
  scheduler->WakeAll(&server_broken_);
  scheduler->WakeAll(&to_client_);
}

bool Call::ServerRead(std::string* message) {
  scheduler->MayPreempt();
  while (to_server_.arrived.empty() && !writes_done_ && !server_broken_) scheduler->Block(&server_broken_);
  if (server_broken_ || to_server_.arrived.empty()) return false;
  *message = std::move(to_server_.arrived.front());
  to_server_.arrived.pop_front();
  to_server_.unread_bytes -= message->size();
  scheduler->WakeAll(&to_server_);
  return true;
}

bool Call::ServerWrite(std::string message) {
  scheduler->MayPreempt();
  while (to_client_.unread_bytes > kWindowBytes && !server_broken_) scheduler->Block(&to_client_);
  if (server_broken_) return false;
  to_client_.unread_bytes += message.size();
  Transmit(To::kClient, [this, message = std::move(message)]() mutable {
    to_client_.arrived.push_back(std::move(message));
    scheduler->WakeAll(&client_broken_);
  });
  return true;
}

void Call::ServerSendInitialMetadata() {
  Transmit(To::kClient, [this] {
    admitted_ = true;
    scheduler->WakeAll(&client_broken_);
  });
}

void Call::TryCancel() {
  if (server_broken_) return;
  Transmit(To::kClient, [this] { BreakAtClient(grpc::Status::CANCELLED); });
  BreakAtServer();
}

// ---- Network ----

Network::Network() { network = this; }
Network::~Network() { network = nullptr; }

int64_t Network::Delay() {
  const uint64_t dice = scheduler->Below(1000);
  if (dice < 5) return UpTo(100 * delay_ns_);
  if (dice < 50) return UpTo(10 * delay_ns_);
  return delay_ns_ / 10 + UpTo(delay_ns_);
}

void Network::Offer(int node, const std::string& method, Handler handler) {
  services_[node][method] = std::move(handler);
}

CallPtr Network::Begin(grpc::ClientContext* context, int server, const std::string& method) {
  scheduler->MayPreempt();
  const auto call = std::make_shared<Call>();
  call->id_ = ++last_call_;
  call->method_ = method;
  call->client_ = scheduler->current_node();
  call->server_ = server;
  call->client_life_ = life(call->client_);
  call->server_life_ = life(server);
  call->context_ = context;
  const auto deadline = context->deadline();
  if (deadline != std::chrono::system_clock::time_point::max()) {
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
    call->deadline_ = scheduler->WhenWall(call->client_, ns);
  }
  // When the time is over while nobody asks: the server is to learn of it too.
  if (call->deadline_ != kNever) {
    scheduler->At(call->deadline_, [call = call] {
      if (call->ClientOver()) return;
      call->BreakAtClient({grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"});
      call->Transmit(Call::To::kServer, [call = call.get()] { call->BreakAtServer(); });
    });
  }
  contexts_[context] = call;
  if (grpc::testing::InteropClientContextInspector::Cancelled(*context)) {
    call->BreakAtClient(grpc::Status::CANCELLED);
    return call;
  }
  const auto services = services_.find(server);
  if (!scheduler->node(server).alive || services == services_.end() || !services->second.contains(method)) {
    scheduler->At(scheduler->now() + (cut(call->client_, server) ? kConnectNs : 2 * Delay()),
                  [call = call] { call->BreakAtClient(Unavailable("connection refused")); });
    return call;
  }
  const bool cut_off = cut(call->client_, server) || cut(server, call->client_);
  if (cut_off && scheduler->Chance(500)) {  // there is no connection yet, so none comes about
    scheduler->At(scheduler->now() + kConnectNs,
                  [call = call] { call->BreakAtClient(Unavailable("connection timed out")); });
    return call;
  }
  call->held_ = scheduler->Chance(600);
  calls_[call->id_] = call;
  call->Transmit(Call::To::kServer, [this, call = call.get()] { Run(call->shared_from_this()); });
  return call;
}

void Network::Run(const CallPtr& call) {
  const auto services = services_.find(call->server_);
  const auto handler = services == services_.end() ? nullptr : [&]() -> const Handler* {
    const auto found = services->second.find(call->method_);
    return found == services->second.end() ? nullptr : &found->second;
  }();
  if (handler == nullptr)
    return call->Transmit(Call::To::kClient,
                          [call = call.get()] { call->BreakAtClient(Unavailable("connection refused")); });
  scheduler->Spawn(call->server_, [this, call, handler = *handler] {
    const grpc::Status status = handler(call);
    call->Transmit(Call::To::kClient, [this, call = call.get(), status] {
      if (!call->status_.has_value()) call->status_ = status;
      scheduler->WakeAll(&call->client_broken_);
      scheduler->WakeAll(&call->to_server_);
      Forget(*call);
    });
    call->server_broken_ = true;
  });
}

void Network::Cut(int from, int to, bool cut) {
  if (!cut) {
    if (cuts_.erase({from, to}) == 0) return;
    const auto calls = calls_;
    for (const auto& [id, call] : calls) {
      if (call->client_ == from && call->server_ == to) call->Pump(Call::To::kServer);
      if (call->server_ == from && call->client_ == to) call->Pump(Call::To::kClient);
    }
    return;
  }
  cuts_.insert({from, to});
  for (const auto& [id, call] : calls_) {
    const bool concerned =
        (call->client_ == from && call->server_ == to) || (call->client_ == to && call->server_ == from);
    if (!concerned || call->held_) continue;
    // The ends find out by themselves.
    scheduler->At(scheduler->now() + BreakDelay(), [call = call] {
      if (!call->ClientOver()) call->BreakAtClient(Unavailable("connection reset"));
    });
    scheduler->At(scheduler->now() + BreakDelay(), [call = call] { call->BreakAtServer(); });
  }
}

void Network::Heal() {
  const auto cuts = cuts_;
  for (const auto& [from, to] : cuts) Cut(from, to, false);
}

void Network::Died(int node, bool quietly) {
  lives_[node]++;
  services_.erase(node);
  const auto calls = calls_;
  for (const auto& [id, call] : calls) {
    if (call->client_ != node && call->server_ != node) continue;
    const int64_t at = scheduler->now() + (quietly ? BreakDelay() : 2 * Delay());
    if (call->server_ == node) {
      scheduler->At(at, [call = call] {
        if (!call->ClientOver()) call->BreakAtClient(Unavailable("connection reset"));
      });
    } else {
      scheduler->At(at, [call = call] { call->BreakAtServer(); });
    }
    Forget(*call);
  }
}

// Another call may have a context at the same address by now.
void Network::Leave(const Call& call) {
  const auto found = contexts_.find(call.context_);
  if (found != contexts_.end() && found->second.get() == &call) contexts_.erase(found);
}

void Network::Cancelled(const grpc::ClientContext* context) {
  const auto found = contexts_.find(context);
  if (found == contexts_.end()) return;
  const CallPtr call = found->second;
  call->Cancel();
}

CallPtr Network::Serving(const grpc::ServerContextBase* context) const {
  const auto found = serving_.find(context);
  return found == serving_.end() ? nullptr : found->second;
}

}  // namespace concord::simulation
