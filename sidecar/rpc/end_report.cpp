#include "sidecar/rpc/end_report.h"

#include <unistd.h>

#include <algorithm>
#include <string>

namespace concord {

void EndReport::Send(const Status& reason) {
  constexpr size_t kReasonMax = 1000;  // what the launcher keeps
  const int fd = fd_.exchange(-1);
  if (fd < 0) return;
  const char* kind = reason.code() == Code::kCorruption ? "damaged"
                     : reason.code() == Code::kInvalid  ? "refused"
                                                        : "failed";
  const std::string text = std::string(kind) + "\n" + reason.message().substr(0, kReasonMax) + "\n";
  // Nobody reads any more: then nobody needs it.
  (void)!write(fd, text.data(), text.size());
  close(fd);
}

}  // namespace concord
