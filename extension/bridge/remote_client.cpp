#include "bridge/remote_client.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>

#include "bridge/remote_state.h"

namespace concord::bridge {

namespace {

constexpr int64_t kSliceMs = 20;  // how often a wait looks around: at interrupts, at the replica of this machine
constexpr int64_t kLookAroundMs = 1000;
constexpr int64_t kReconnectMs = 10;
constexpr size_t kMaxAnswerBytes = size_t{96} << 20;

RemoteClient* instance = nullptr;
void ForgetAfterFork() { instance = nullptr; }

// NowMs is too coarse for time-outs of some milliseconds.
int64_t ExactMs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return int64_t{ts.tv_sec} * 1000 + ts.tv_nsec / 1000000;
}

int64_t TimeoutMs() { return remote_state.options.timeout_ms == nullptr ? 30000 : *remote_state.options.timeout_ms; }

bool HasInterrupts() { return remote_state.options.interrupted != nullptr && *remote_state.options.interrupted != 0; }

// Tells for as long as it lives that the process waits.
class Waiting {
 public:
  Waiting() { TellWaiting(CC_WAITS_REMOTE); }
  ~Waiting() { TellWaiting(CC_WAITS_NOT); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
};

}  // namespace

RemoteClient& RemoteClient::Get() {
  if (instance == nullptr) {
    static const int registered = pthread_atfork(nullptr, nullptr, ForgetAfterFork);
    (void)registered;
    instance = new RemoteClient;
  }
  return *instance;
}

bool RemoteClient::Connect() {
  if (fd_ >= 0) return true;
  const int64_t now = ExactMs();
  if (now - tried_ms_ < kReconnectMs || remote_state.options.socket == nullptr) return false;
  tried_ms_ = now;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (strlen(remote_state.options.socket) >= sizeof address.sun_path) return false;
  strcpy(address.sun_path, remote_state.options.socket);
  fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) return false;
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    Disconnect();
    return false;
  }
  for (const auto& [id, request] : requests_)
    if (!request.answered) Queue(id, request);
  return true;
}

void RemoteClient::Disconnect() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  out_.clear();
  sent_ = header_got_ = body_got_ = 0;
  body_.reset();
}

void RemoteClient::Queue(uint64_t id, const Request& request) {
  const CallHeader header = {static_cast<uint32_t>(request.bytes.size()), static_cast<uint32_t>(CallType::kRead), id,
                             request.lsn};
  out_.append(reinterpret_cast<const char*>(&header), sizeof header).append(request.bytes);
}

uint64_t RemoteClient::Send(Lsn lsn, std::string bytes) {
  const uint64_t id = next_id_++;
  remote_state.used = true;
  Request& request = requests_[id];
  request.lsn = lsn;
  request.bytes = std::move(bytes);
  if (fd_ >= 0) {
    Queue(id, request);
    if (!SendSome()) Disconnect();
  } else if (Connect() && !SendSome()) {
    Disconnect();
  }
  return id;
}

void RemoteClient::Forget(uint64_t id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  const bool answered = found->second.answered;
  requests_.erase(found);
  if (answered || fd_ < 0) return;
  const CallHeader header = {0, static_cast<uint32_t>(CallType::kForget), id, 0};
  try {
    out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  } catch (const std::bad_alloc&) {
    Disconnect();  // this is called where nothing may fail; the gateway then forgets all of them
    return;
  }
  if (!SendSome()) Disconnect();
}

void RemoteClient::Reset() {
  calls_.clear();
  while (!requests_.empty()) Forget(requests_.begin()->first);
}

bool RemoteClient::SendSome() {
  while (sent_ < out_.size()) {
    const ssize_t n = send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    sent_ += static_cast<size_t>(n);
  }
  out_.clear();
  sent_ = 0;
  return true;
}

bool RemoteClient::ReceiveSome(bool* progress) {
  *progress = false;
  for (;;) {
    const bool in_header = header_got_ < sizeof header_;
    char* const to = in_header ? reinterpret_cast<char*>(&header_) + header_got_ : body_.get() + body_got_;
    const size_t room = in_header ? sizeof header_ - header_got_ : header_.size - body_got_;
    if (room > 0) {
      const ssize_t n = recv(fd_, to, room, MSG_DONTWAIT);
      if (n == 0) return false;
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      (in_header ? header_got_ : body_got_) += static_cast<size_t>(n);
      if (static_cast<size_t>(n) < room) continue;
    }
    if (in_header) {
      if (header_.size > kMaxAnswerBytes) return false;
      body_got_ = 0;
      body_.reset(static_cast<char*>(malloc(std::max<size_t>(header_.size, 1))));
      if (body_ == nullptr) {
        Disconnect();
        throw std::bad_alloc();
      }
      if (header_.size > 0) continue;
    }
    header_got_ = 0;
    const auto found = requests_.find(header_.id);
    if (found != requests_.end() && !found->second.answered) {
      found->second.answered = true;
      found->second.status = header_.status;
      found->second.answer_size = header_.size;
      found->second.answer = std::move(body_);
      *progress = true;
    }
    body_.reset();
  }
}

bool RemoteClient::Exchange() {
  bool progress;
  if (fd_ >= 0 && SendSome() && ReceiveSome(&progress)) return true;
  Disconnect();
  return false;
}

void RemoteClient::Sleep(int64_t ms) {
  pollfd waited = {fd_, static_cast<int16_t>(POLLIN | (sent_ < out_.size() ? POLLOUT : 0)), 0};
  (void)poll(&waited, fd_ >= 0 ? 1 : 0, static_cast<int>(ms));
}

CcStatus RemoteClient::Take(Request request, RemoteBatch** batch) {
  if (request.status == kReadOk) return RemoteBatch::Make(std::move(request.answer), request.answer_size, batch);
  const std::string text(request.answer.get(), request.answer_size);
  switch (request.status) {
    case kReadTooOld: return Fail(CC_TOO_OLD, "%s", text.c_str());
    case kReadUnavailable: return Fail(CC_UNAVAILABLE, "%s", text.c_str());
    case kReadCorrupt: return Fail(CC_CORRUPT, "%s", text.c_str());
    default: return Fail(CC_IO_ERROR, "%s", text.c_str());
  }
}

CcStatus RemoteClient::Await(uint64_t id, RemoteBatch** batch, bool* local_ready) {
  *batch = nullptr;
  if (local_ready != nullptr) *local_ready = false;
  const auto found = requests_.find(id);
  if (found == requests_.end()) return Fail(CC_IO_ERROR, "a read was asked about that is not known");
  // The element stays where it is while others come and go.
  Request& request = found->second;
  if (!request.answered && Connect()) (void)Exchange();
  if (!request.answered) {
    const Waiting waiting;
    const int64_t begun_ms = ExactMs();
    if (request.waited_since_ms == 0) request.waited_since_ms = begun_ms;
    for (;;) {
      Sleep(fd_ >= 0 ? kSliceMs : kReconnectMs);
      if (Connect()) (void)Exchange();
      if (request.answered) break;
      const int64_t now = ExactMs();
      if (now - request.waited_since_ms >= TimeoutMs()) {
        const char* const text = fd_ >= 0 ? "no storage replica answered within concord.read_timeout"
                                          : "the gateway did not answer within concord.read_timeout";
        Forget(id);
        return Fail(CC_UNAVAILABLE, "%s", text);
      }
      if (HasInterrupts() || now - begun_ms >= kLookAroundMs) return CC_INTERRUPTED;
      if (local_ready != nullptr && !remote_state.only && Replica::Get().HasApplied(request.lsn)) {
        *local_ready = true;
        Forget(id);
        return CC_OK;
      }
    }
  }
  Request answered = std::move(request);
  requests_.erase(id);
  return Take(std::move(answered), batch);
}

CcStatus RemoteClient::Call(Lsn lsn, const std::string& bytes, RemoteBatch** batch, bool* local_ready) {
  std::string name(reinterpret_cast<const char*>(&lsn), sizeof lsn);
  name += bytes;
  auto call = calls_.find(name);
  if (call != calls_.end() && !requests_.contains(call->second)) {
    calls_.erase(call);
    call = calls_.end();
  }
  if (call == calls_.end()) call = calls_.emplace(name, Send(lsn, bytes)).first;
  const CcStatus status = Await(call->second, batch, local_ready);
  if (status != CC_INTERRUPTED) calls_.erase(name);
  return status;
}

}  // namespace concord::bridge
