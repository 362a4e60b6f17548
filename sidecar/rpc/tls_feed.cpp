#include "sidecar/rpc/tls_feed.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace concord {
namespace {

std::string PathOf(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// In place of what *fd is, if that is open: whoever opens its path finds the one or the other.
Status Put(const std::string& content, int* fd) {
  const int fresh = memfd_create("concord-tls", MFD_CLOEXEC);
  if (fresh < 0) return {Code::kIoError, std::string("TLS: no memory for what the files hold: ") + strerror(errno)};
  Status status;
  for (size_t done = 0; status.ok() && done < content.size();) {
    const ssize_t written = write(fresh, content.data() + done, content.size() - done);
    if (written > 0) done += static_cast<size_t>(written);
    if (written <= 0 && errno != EINTR)
      status = {Code::kIoError, std::string("TLS: what the files hold cannot be kept: ") + strerror(errno)};
  }
  if (status.ok() && *fd < 0) {
    *fd = fresh;
    return access(PathOf(fresh).c_str(), R_OK) == 0
               ? status
               : Status(Code::kIoError, "TLS: " + PathOf(fresh) + " cannot be opened: " + strerror(errno));
  }
  if (status.ok() && dup3(fresh, *fd, O_CLOEXEC) < 0)
    status = {Code::kIoError, std::string("TLS: what the files hold cannot be replaced: ") + strerror(errno)};
  close(fresh);
  return status;
}

}  // namespace

Status TlsFeed::Make(const TlsMaterial& first, std::unique_ptr<TlsFeed>* feed) {
  feed->reset(new TlsFeed);
  return (*feed)->Publish(first);
}

TlsFeed::~TlsFeed() {
  if (ca_ >= 0) close(ca_);
  if (identity_ >= 0) close(identity_);
}

// The CA first: it may be the one that the others' new certificates are of.
Status TlsFeed::Publish(const TlsMaterial& next) {
  const Status status = Put(next.ca, &ca_);
  return status.ok() ? Put(next.identity, &identity_) : status;
}

std::string TlsFeed::ca_path() const { return PathOf(ca_); }

std::string TlsFeed::identity_path() const { return PathOf(identity_); }

}  // namespace concord
