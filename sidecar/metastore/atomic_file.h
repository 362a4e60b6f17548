// Whole small files, read and replaced at once. After a crash a reader finds the old content or the new, never a
// mixture.
//
// A file that is replaced has a spare beside it, PATH.new: the next content is written over the spare, and then the two
// exchange their names. So on a full disk a file can still be replaced, as long as it does not grow: without that
// concordd could not start there. What the spare holds is of no meaning.
#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

namespace concord {

// kNotFound if there is none; kCorruption over 1 MiB (such files are small).
Status ReadSmallFile(const std::string& path, std::string* content);

// Makes or replaces a file; durable when it returns Ok. Mode 0600.
Status ReplaceFile(const std::string& path, std::string_view content);
// The same for a file that is made once: it gets no spare.
Status MakeFile(const std::string& path, std::string_view content);

// Small text files begin with a line "NAME VERSION" and end with a line "crc 1a2b3c4d", the CRC-32C of all before it.
std::string WithCheckLine(std::string content);
// kCorruption if the check line does not hold, kInvalid, naming both versions, if all holds but the version is another
// one.
Status CheckTextFile(const std::string& path, std::string_view name, uint64_t version, std::string_view content);

}  // namespace concord
