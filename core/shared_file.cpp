#include "core/shared_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace concord {

Status SharedFileError(const std::string& path, int error) {
  const Code code = error == ENOENT || error == ENOTDIR  ? Code::kNotFound
                    : error == ENOSPC || error == EDQUOT ? Code::kNoSpace
                                                         : Code::kIoError;
  return {code, path + ": " + strerror(error)};
}

Status OpenSharedFile(const std::string& path, int flags, off_t size, int* fd) {
  *fd = open(path.c_str(), flags | O_CLOEXEC);
  if (*fd < 0) return SharedFileError(path, errno);
  struct stat file;
  Status status;
  if (fstat(*fd, &file) != 0)
    status = SharedFileError(path, errno);
  else if (file.st_size != size)
    status = {Code::kNotFound, path + " is not initialised yet"};
  if (!status.ok()) close(*fd);
  return status;
}

Status AllocateSharedFile(const std::string& path, int fd, off_t size) {
  int error;
  do {
    error = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size) == 0 ? 0 : errno;
  } while (error == EINTR);
  struct stat file;
  if (error != 0 && fstat(fd, &file) == 0 && off_t{file.st_blocks} * 512 >= size) error = 0;
  return error == ENOSPC || error == EDQUOT ? SharedFileError("allocate " + path, error) : Status::Ok();
}

}  // namespace concord
