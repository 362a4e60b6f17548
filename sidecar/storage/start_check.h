// What is looked at before LMDB opens a replica's file, as LMDB trusts it: see page_walk.h. And what is done with a
// replica that does not pass.
//
// Called before the environment is open. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/status.h"

namespace concord {

// A file beside data.mdb that asks the next start to check every page, whatever it takes: a replica made trouble. It
// goes when the check has passed.
inline constexpr char kCheckFile[] = "check";

// Every page if the file has at most `check_bytes` or the mark is there; else both meta pages, `meta`, and the root of
// each database. Makes a file as long as its meta pages claim, where the last pages were given back before they were
// ever written: so a reader can tell a file that was cut. kCorruption: damaged, naming file and offset; kInvalid: of
// another format; kShutdown: `cancelled`, if not empty, has said so.
Status CheckBeforeOpen(const std::string& directory, uint64_t check_bytes, const std::function<bool()>& cancelled = {});

// Renames the directory to `<directory>.damaged-<time>`, told in `*moved_to`.
Status SetAside(const std::string& directory, std::string* moved_to);

// Lets the death of this process by a signal that damaged pages bring about (SIGSEGV, SIGBUS, SIGABRT) leave the mark.
void MarkOnCrash(const std::string& directory);

}  // namespace concord
