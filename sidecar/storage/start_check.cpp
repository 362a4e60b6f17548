#include "sidecar/storage/start_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "core/replica_layout.h"
#include "sidecar/storage/checkpoint.h"
#include "sidecar/storage/replica_check.h"

namespace concord {
namespace {

char crash_mark[4096];  // the path; read by the signal handler

void OnCrash(int signal_number) {
  const int fd = open(crash_mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  // SA_RESETHAND has put the default action back: the process dies of it now.
  raise(signal_number);
}

Status Lengthen(const std::string& path, uint64_t bytes) {
  if (truncate(path.c_str(), static_cast<off_t>(bytes)) == 0) return Status::Ok();
  return {Code::kIoError, path + ": " + strerror(errno)};
}

}  // namespace

Status CheckBeforeOpen(const std::string& directory, uint64_t check_bytes, const std::function<bool()>& cancelled) {
  const std::string path = directory + "/data.mdb";
  const std::string mark = directory + "/" + kCheckFile;
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return {Code::kIoError, path + ": " + strerror(errno)};
  const bool marked = access(mark.c_str(), F_OK) == 0;

  ReplicaContents contents;
  ReplicaCheckOptions options;
  options.contents = false;
  options.problems_max = 1;
  // Its pages in any case: what the fixed fields say is known sooner than whether they can be believed.
  Status status = CheckReplica(path, options, &contents);
  if (!status.ok()) return status;
  if (!contents.unsupported.ok()) return contents.unsupported;
  if (contents.problems.empty() && (marked || static_cast<uint64_t>(info.st_size) <= check_bytes)) {
    PageWalkOptions walk;
    walk.databases = ReplicaDatabaseNames();
    walk.problems_max = 1;
    walk.cancelled = cancelled;
    PageWalkResult pages;
    status = WalkPages(
        path, walk, [](std::string_view, std::string_view, const StoredValue&) {}, &pages);
    if (!status.ok()) return status;
    contents.problems = pages.problems;
  }
  if (!contents.problems.empty()) return {Code::kCorruption, contents.problems.front()};
  if (const uint64_t claimed = (contents.pages.last_page + 1) * 4096; contents.pages.file_bytes < claimed)
    status = Lengthen(path, claimed);
  if (status.ok() && marked) status = RemoveMark(directory, kCheckFile);
  return status;
}

Status SetAside(const std::string& directory, std::string* moved_to) {
  const time_t now = time(nullptr);
  tm parts;
  char text[32];
  gmtime_r(&now, &parts);
  strftime(text, sizeof text, "%Y%m%dT%H%M%S", &parts);
  *moved_to = directory + ".damaged-" + text;
  if (rename(directory.c_str(), moved_to->c_str()) != 0)
    return {Code::kIoError, "rename " + directory + ": " + strerror(errno)};
  return Status::Ok();
}

void MarkOnCrash(const std::string& directory) {
  const std::string path = directory + "/" + kCheckFile;
  if (path.size() >= sizeof crash_mark) return;
  memcpy(crash_mark, path.c_str(), path.size() + 1);
  struct sigaction action {};
  action.sa_handler = OnCrash;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (const int signal_number : {SIGSEGV, SIGBUS, SIGABRT}) sigaction(signal_number, &action, nullptr);
}

}  // namespace concord
