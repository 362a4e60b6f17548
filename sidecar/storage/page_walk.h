// Reads the file of an LMDB environment page by page and checks that it is one: LMDB itself trusts its pages, and a
// damaged one makes it read or write anywhere, or die. Nothing of LMDB is called here, nothing is mapped and nothing is
// written, so the file may hold anything.
//
// Checked: both meta pages; every page that can be reached from the newer one has its own number, the right kind, nodes
// that lie within it, keys in order and between those of its parent; sizes of large values; no page is used twice; the
// counts that each database keeps of its pages and entries; the list of free pages against those in use, and against
// what the file is said to have beyond its end. LMDB 0.9 has
// no checksums: a changed byte inside a key or value that keeps their order is not seen here.
//
// The file must not change meanwhile. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace concord {

struct PageWalkOptions {
  // In this order; each must be there, and no other.
  std::vector<std::string> databases;
  size_t problems_max = 20;         // the walk goes on beside what is damaged until it has found so many
  std::string meta_pages;           // two pages to use in place of the file's own (a checkpoint's)
  std::function<bool()> cancelled;  // may be empty; asked for each page: true ends the walk with kShutdown
  std::string only;  // follow this database only, and look at the roots of the others; empty: all, and the free list
};

struct StoredValue {
  uint64_t size;
  std::string_view head;  // all of it, or what its first page holds
};

struct PageWalkResult {
  std::vector<std::string> problems;  // "PATH, offset N: what"
  uint64_t transaction = 0;           // LMDB's id of the newest one
  uint64_t file_bytes = 0;
  uint64_t last_page = 0;
  uint64_t used_pages = 0;
  uint64_t free_pages = 0;
  uint64_t lost_pages = 0;  // neither used nor free: no harm but the space
  uint64_t entries = 0;
};

// Calls `on_entry` for the entries of each database in order, as far as they are sound. An error only if the file
// cannot be read at all; what is wrong with it is in the result.
using EntryFunction = std::function<void(std::string_view database, std::string_view key, const StoredValue& value)>;
Status WalkPages(const std::string& path, const PageWalkOptions& options, const EntryFunction& on_entry,
                 PageWalkResult* result);

}  // namespace concord
