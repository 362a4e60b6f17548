// The pages that LMDB has free in its file. It uses them again when no reader is left that sees their old content; the
// pin of the last checkpoint is such a reader.
//
// How they lie matters as well. A value that is larger than a page takes pages in a row, so as many free ones, each by
// itself, are no room for it.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "sidecar/storage/lmdb.h"

namespace concord {

// Of all free pages.
Status FreeBytes(MDB_env* env, uint64_t* bytes);

// Whether any values that take `needed` pages together, and none of them more than `largest`, are sure to find theirs
// in a row, in whatever order they come: in free ones that nobody sees, or among `behind` more behind those in use.
// Reads the list of free pages as far as it has to.
Status RunsHold(MDB_env* env, uint64_t behind, uint64_t needed, uint64_t largest, bool* hold);

}  // namespace concord
