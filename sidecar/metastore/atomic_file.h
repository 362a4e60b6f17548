// Whole small files, read and replaced at once. After a crash a reader finds the old content or the new, never a
// mixture.
#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

namespace concord {

// kNotFound if there is none; kCorruption over 1 MiB (such files are small).
Status ReadSmallFile(const std::string& path, std::string* content);

// Durable when it returns Ok: temporary file, fsync, rename, fsync of the directory. Mode 0600.
Status ReplaceFile(const std::string& path, std::string_view content);

}  // namespace concord
