// Small files that processes of one machine map as shared memory (replica_page.h, memtable.h): opening, and space.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/status.h"

namespace concord {

// kNotFound: there is no such file; kNoSpace; else kIoError.
Status SharedFileError(const std::string& path, int error);

// For readers. kNotFound: the file is not there, or has not its whole size yet. The caller closes *fd.
Status OpenSharedFile(const std::string& path, int flags, off_t size, int* fd);

// Blocks for the first `size` bytes, which a length alone does not give: on a full disk, a page of a map that is not
// there would be a SIGBUS. The length stays. A file system that knows no fallocate is left to its luck; one that is
// full may refuse it for a file that has all its pages (XFS), which is none. kNoSpace otherwise.
Status AllocateSharedFile(const std::string& path, int fd, off_t size);

}  // namespace concord
