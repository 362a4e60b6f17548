#include "sidecar/rpc/shutdown.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace concord {

ShutdownSignal::~ShutdownSignal() {
  if (signal_fd_ >= 0) close(signal_fd_);
  if (event_fd_ >= 0) close(event_fd_);
}

Status ShutdownSignal::Init(int lifeline_fd) {
  if (lifeline_fd >= 0) {
    const int flags = fcntl(lifeline_fd, F_GETFD);
    if (flags < 0)
      return {Code::kInvalid, "lifeline descriptor " + std::to_string(lifeline_fd) + ": " + strerror(errno)};
    fcntl(lifeline_fd, F_SETFD, flags | FD_CLOEXEC);
  }
  lifeline_fd_ = lifeline_fd;
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC);
  if (signal_fd_ < 0) return {Code::kIoError, std::string("signalfd: ") + strerror(errno)};
  event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd_ < 0) return {Code::kIoError, std::string("eventfd: ") + strerror(errno)};
  return Status::Ok();
}

std::string ShutdownSignal::Wait(int timeout_ms) {
  pollfd fds[3] = {{signal_fd_, POLLIN, 0}, {event_fd_, POLLIN, 0}, {lifeline_fd_, POLLIN, 0}};
  while (asked_.empty()) {
    const int ready = poll(fds, lifeline_fd_ >= 0 ? 3 : 2, timeout_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return {};
    if (fds[1].revents != 0) {
      const std::lock_guard lock(mutex_);
      return failure_.message();
    }
    if (fds[0].revents != 0) {
      signalfd_siginfo info;
      if (read(signal_fd_, &info, sizeof info) == sizeof info)
        asked_ = info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT";
    }
    if (lifeline_fd_ >= 0 && fds[2].revents != 0) {
      char byte;
      const ssize_t got = read(lifeline_fd_, &byte, 1);
      if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) asked_ = "parent is gone";
      // The parent has nothing to say on this pipe; bytes are taken and ignored.
    }
  }
  return asked_;
}

void ShutdownSignal::Fail(const Status& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = reason;
  }
  eventfd_write(event_fd_, 1);
}

bool ShutdownSignal::failed() const {
  const std::lock_guard lock(mutex_);
  return !failure_.ok();
}

Status ShutdownSignal::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace concord
