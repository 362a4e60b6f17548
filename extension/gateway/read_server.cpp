#include "gateway/read_server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/lsn_page.h"

namespace concord {

namespace {

constexpr int kEventsAtOnce = 64;
constexpr size_t kReceiveBytes = 64u << 10;
constexpr size_t kJoinedBytes = 16u << 10;  // an answer up to it is copied behind its header, to be sent in one go

}  // namespace

struct ReadServer::Connection {
  explicit Connection(int socket) : fd(socket) {}
  ~Connection() { close(fd); }
  // What there is room for. False if the connection is broken.
  bool SendSome() {
    while (!out.empty()) {
      const std::string& first = out.front();
      const ssize_t n = send(fd, first.data() + sent, first.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      sent += static_cast<size_t>(n);
      if (sent < first.size()) continue;
      out.pop_front();
      sent = 0;
    }
    return true;
  }

  const int fd;
  std::string in;  // the thread's
  std::mutex mutex;
  // Under mutex:
  bool closed = false;
  bool waits_for_room = false;
  std::deque<std::string> out;
  size_t sent = 0;  // of the first of them
  std::unordered_map<uint64_t, RemoteReads::ReadPtr> requests;
};

std::string ReadServer::Start(const std::string& path) {
  const auto failed = [&](const char* what) { return std::string(what) + " \"" + path + "\": " + strerror(errno); };
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return "the path of the socket \"" + path + "\" is too long";
  memcpy(address.sun_path, path.data(), path.size());
  path_ = path;
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return failed("could not remove");
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  listen_fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (epoll_fd_ < 0 || wake_fd_ < 0 || listen_fd_ < 0) return failed("could not make");
  // Nobody can connect between bind and listen.
  if (bind(listen_fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return failed("could not bind");
  if (chmod(path.c_str(), 0600) != 0) return failed("could not change the mode of");
  if (listen(listen_fd_, SOMAXCONN) != 0) return failed("could not listen on");
  for (const int fd : {listen_fd_, wake_fd_}) {
    epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return failed("could not watch");
  }
  thread_ = std::thread([this] { Run(); });
  return {};
}

void ReadServer::Wake() {
  const uint64_t one = 1;
  if (wake_fd_ >= 0 && write(wake_fd_, &one, sizeof one) != sizeof one) {
    // Full: it is going to wake anyway.
  }
}

void ReadServer::Stop() {
  stopping_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
  while (!connections_.empty()) Close(connections_.begin()->second);
  if (listen_fd_ >= 0) close(listen_fd_);
  listen_fd_ = -1;
  if (!path_.empty()) (void)unlink(path_.c_str());
  path_.clear();
}

ReadServer::~ReadServer() {
  Stop();
  for (const int fd : {epoll_fd_, wake_fd_}) {
    if (fd >= 0) close(fd);
  }
}

int ReadServer::TimeoutMs() {
  const int64_t at_us = reads_->NextTickUs();
  if (at_us < 0) return -1;
  return static_cast<int>(std::clamp<int64_t>((at_us - BoottimeUs() + 999) / 1000, 0, 1000));
}

void ReadServer::Run() {
  epoll_event events[kEventsAtOnce];
  while (!stopping_) {
    const int count = epoll_wait(epoll_fd_, events, kEventsAtOnce, TimeoutMs());
    for (int i = 0; i < count; i++) {
      const int fd = events[i].data.fd;
      if (fd == wake_fd_) {
        uint64_t ignored;
        (void)!read(wake_fd_, &ignored, sizeof ignored);
        continue;
      }
      if (fd == listen_fd_) {
        Accept();
        continue;
      }
      const auto found = connections_.find(fd);
      if (found == connections_.end()) continue;
      const ConnectionPtr connection = found->second;
      bool good = true;
      if ((events[i].events & EPOLLOUT) != 0) {
        const std::lock_guard lock(connection->mutex);
        good = connection->SendSome();
        if (connection->out.empty()) Watch(connection.get(), false);
      }
      if (good && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) good = Receive(connection);
      if (!good) Close(connection);
    }
    reads_->Tick();
  }
}

// Under the connection's mutex.
void ReadServer::Watch(Connection* connection, bool for_room) {
  if (connection->waits_for_room == for_room) return;
  connection->waits_for_room = for_room;
  epoll_event event = {.events = EPOLLIN | (for_room ? EPOLLOUT : 0u), .data = {.fd = connection->fd}};
  (void)epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection->fd, &event);
}

void ReadServer::Accept() {
  const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    // It stays in the queue, and epoll goes on telling of it: not a loop without end while there are no descriptors.
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return;
  }
  auto connection = std::make_shared<Connection>(fd);
  ucred peer = {};
  socklen_t size = sizeof peer;
  epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid() ||
      epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0)
    return;
  connections_[fd] = std::move(connection);
}

bool ReadServer::Receive(const ConnectionPtr& connection) {
  std::string& in = connection->in;
  for (;;) {
    const size_t before = in.size();
    in.resize(before + kReceiveBytes);
    const ssize_t n = recv(connection->fd, in.data() + before, kReceiveBytes, MSG_DONTWAIT);
    in.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    std::string_view rest = in;
    while (rest.size() >= sizeof(CallHeader)) {
      CallHeader header;
      memcpy(&header, rest.data(), sizeof header);
      if (header.size > kMaxReadRequestBytes) return false;
      if (rest.size() < sizeof header + header.size) break;
      if (!OnCall(connection, header, rest.substr(sizeof header, header.size))) return false;
      rest.remove_prefix(sizeof header + header.size);
    }
    in.erase(0, in.size() - rest.size());
    if (static_cast<size_t>(n) < kReceiveBytes) return true;
  }
}

bool ReadServer::OnCall(const ConnectionPtr& connection, const CallHeader& header, std::string_view request) {
  const uint64_t id = header.id;
  if (header.type == static_cast<uint32_t>(CallType::kForget)) {
    RemoteReads::ReadPtr read;
    {
      const std::lock_guard lock(connection->mutex);
      const auto found = connection->requests.find(id);
      if (found == connection->requests.end()) return true;  // its answer is on its way
      read = std::move(found->second);
      connection->requests.erase(found);
    }
    if (read != nullptr) reads_->Cancel(read);
    return true;
  }
  if (header.type != static_cast<uint32_t>(CallType::kRead)) return false;
  {
    const std::lock_guard lock(connection->mutex);
    if (connection->requests.size() >= kRequestsMax) return false;
    connection->requests[id] = nullptr;
  }
  // It may be answered before we know its name.
  RemoteReads::ReadPtr read = reads_->Start(header.read_lsn, std::string(request),
                                            [this, connection, id](ReadStatus status, std::string bytes) {
                                              Deliver(connection, id, status, std::move(bytes));
                                            });
  const std::lock_guard lock(connection->mutex);
  if (const auto found = connection->requests.find(id); found != connection->requests.end())
    found->second = std::move(read);
  return true;
}

void ReadServer::Deliver(const ConnectionPtr& connection, uint64_t id, ReadStatus status, std::string bytes) {
  const AnswerHeader header = {static_cast<uint32_t>(bytes.size()), status, id};
  const std::lock_guard lock(connection->mutex);
  if (connection->closed || connection->requests.erase(id) == 0) return;
  connection->out.emplace_back(reinterpret_cast<const char*>(&header), sizeof header);
  if (bytes.size() <= kJoinedBytes)
    connection->out.back().append(bytes);
  else
    connection->out.push_back(std::move(bytes));
  // A broken connection is seen by the thread.
  (void)connection->SendSome();
  if (!connection->out.empty()) Watch(connection.get(), true);
}

void ReadServer::Close(const ConnectionPtr& connection) {
  decltype(connection->requests) requests;
  {
    const std::lock_guard lock(connection->mutex);
    connection->closed = true;
    requests.swap(connection->requests);
    (void)epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, connection->fd, nullptr);
  }
  connections_.erase(connection->fd);
  for (const auto& [id, read] : requests)
    if (read != nullptr) reads_->Cancel(read);
}

}  // namespace concord
