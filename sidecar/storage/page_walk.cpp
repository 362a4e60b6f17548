// The layout that is read here is LMDB 0.9's (mdb.c: MDB_page, MDB_node, MDB_db, MDB_meta), on 64-bit little-endian
// machines:
//
//   file    := page*                      pages 0 and 1 are meta pages; transaction n writes meta page n % 2
//   page    := number u64 | pad u16 | flags u16 | (lower u16 | upper u16, or of an overflow page: pages u32) | content
//   flags   := 1 branch | 2 leaf | 4 overflow | 8 meta
//   content := offset u16 {(lower - 16) / 2} | free space | node*      nodes fill the page from `upper` to its end
//   node    := low u16 | high u16 | flags u16 | key size u16 | key | value      of even length
//              branch: the child's number is low | high << 16 | flags << 32, no value; the first key counts as lowest
//              leaf:   the value's size is low | high << 16; flags: 1 the value is the number of an overflow page,
//              where it
//                      begins 16 bytes into the page; 2 the value is a database
//   database:= pad u32 | flags u16 | depth u16 | branch pages u64 | leaf pages u64 | overflow pages u64 | entries u64 |
//   root u64 meta    := magic u32 (BEEFC0DEh) | version u32 (1) | address u64 | map size u64 | free database | main
//   database
//              | last page u64 | transaction u64         the page size is in the free database's pad
//
// The main database names the others. The free database maps the transaction that freed them (u64) to page numbers:
// count u64, then so many numbers, highest first.
#include "sidecar/storage/page_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "core/bytes.h"

namespace concord {
namespace {

constexpr uint64_t kPageHeader = 16;
constexpr uint64_t kNodeHeader = 8;
constexpr uint64_t kDatabaseSize = 48;
constexpr uint16_t kBranch = 1, kLeaf = 2, kOverflow = 4, kMeta = 8;
constexpr uint16_t kKindMask = 0xf;
constexpr uint16_t kBigValue = 1, kSubDatabase = 2;
constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr uint32_t kVersion = 1;
constexpr uint64_t kNoPage = ~uint64_t{0};
constexpr uint16_t kDepthMax = 32;  // of LMDB's cursors
constexpr char kMainName[] = "(main)";
constexpr char kFreeName[] = "(free)";

uint16_t U16(std::string_view bytes, uint64_t at) { return LoadLe<uint16_t>(bytes.data() + at); }
uint64_t U64(std::string_view bytes, uint64_t at) { return LoadLe<uint64_t>(bytes.data() + at); }

struct Database {
  uint16_t flags = 0;
  uint16_t depth = 0;
  uint64_t branch_pages = 0, leaf_pages = 0, overflow_pages = 0, entries = 0;
  uint64_t root = kNoPage;

  static Database Parse(const char* bytes) {
    return {LoadLe<uint16_t>(bytes + 4),  LoadLe<uint16_t>(bytes + 6),  LoadLe<uint64_t>(bytes + 8),
            LoadLe<uint64_t>(bytes + 16), LoadLe<uint64_t>(bytes + 24), LoadLe<uint64_t>(bytes + 32),
            LoadLe<uint64_t>(bytes + 40)};
  }
};

struct Meta {
  uint64_t page_size;
  uint64_t map_bytes;
  uint64_t last_page;
  uint64_t transaction;
  Database free, main;
};

struct Node {
  uint16_t flags;
  std::string_view key;
  uint64_t child;          // branch
  uint64_t value_size;     // leaf
  std::string_view value;  // leaf: what is in the node
};

// What a walk has counted of one database.
struct Counts {
  uint64_t branch_pages = 0, leaf_pages = 0, overflow_pages = 0, entries = 0;
};

class Walker {
 public:
  Walker(const std::string& path, const PageWalkOptions& options, const EntryFunction& on_entry, PageWalkResult* result)
      : path_(path), options_(options), on_entry_(on_entry), result_(result) {}
  ~Walker() {
    if (fd_ >= 0) close(fd_);
  }
  Walker(const Walker&) = delete;

  // kShutdown if it was cancelled.
  Status Run();

 private:
  Status Walk();
  using LeafFunction = std::function<void(uint64_t page, const Node& node)>;

  bool Full() const { return cancelled_ || result_->problems.size() >= options_.problems_max; }
  void Problem(uint64_t offset, const std::string& what) {
    if (!Full()) result_->problems.push_back(path_ + ", offset " + std::to_string(offset) + ": " + what);
  }
  void PageProblem(uint64_t page, const std::string& what) {
    Problem(page * page_size_, "page " + std::to_string(page) + ": " + what);
  }
  bool Read(uint64_t offset, uint64_t size, std::string* out);
  bool ReadMeta(std::string_view page, uint64_t number, Meta* meta);
  bool ChooseMeta(Meta* meta);
  // Marks the pages as used; false, with a problem, if they cannot be.
  bool Use(uint64_t page, uint64_t count, uint64_t named_by);
  bool ReadTreePage(uint64_t page, const Database& database, uint16_t level, uint64_t named_by, std::string* bytes);
  bool ParseNodes(uint64_t page, std::string_view bytes, bool integer_keys, std::vector<Node>* nodes);
  int Compare(std::string_view a, std::string_view b, bool integer_keys) const;
  void WalkDatabase(const std::string& name, const Database& database, uint64_t named_by, const LeafFunction& on_leaf);
  void WalkTree(const Database& database, uint64_t page, uint16_t level, uint64_t named_by, const std::string* lower,
                const std::string* upper, Counts* counts, const LeafFunction& on_leaf);
  // The value of a leaf's node: in place, or its first page (all pages with `whole`). False, with a problem, if it is
  // damaged.
  bool LoadValue(uint64_t page, const Node& node, bool whole, Counts* counts, StoredValue* value);
  void ListDatabases(const Database& main, std::map<std::string, std::pair<Database, uint64_t>>* found);
  void WalkFreeList(const Database& database);
  void CheckRoot(const std::string& name, const Database& database, uint64_t named_by);

  const std::string path_;
  const PageWalkOptions& options_;
  const EntryFunction& on_entry_;
  PageWalkResult* const result_;
  int fd_ = -1;
  bool cancelled_ = false;
  uint64_t page_size_ = 4096;
  uint64_t file_pages_ = 0;
  uint64_t last_page_ = 0;
  std::vector<bool> used_;
  Counts counts_;  // of the database being walked
  std::string value_;
};

bool Walker::Read(uint64_t offset, uint64_t size, std::string* out) {
  out->resize(size);
  for (uint64_t done = 0; done < size;) {
    const ssize_t got = pread(fd_, out->data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      Problem(offset + done, got < 0 ? std::string("cannot be read: ") + strerror(errno) : "the file ends early");
      return false;
    }
    done += static_cast<uint64_t>(got);
  }
  return true;
}

bool Walker::ReadMeta(std::string_view page, uint64_t number, Meta* meta) {
  const uint64_t at = number * page_size_;
  if (U64(page, 0) != number || (U16(page, 10) & kKindMask) != kMeta) {
    Problem(at, "meta page " + std::to_string(number) + " is none");
    return false;
  }
  const char* body = page.data() + kPageHeader;
  if (LoadLe<uint32_t>(body) != kMagic) {
    Problem(at + kPageHeader, "not a file of LMDB");
    return false;
  }
  if (const auto version = LoadLe<uint32_t>(body + 4); version != kVersion) {
    Problem(at + kPageHeader + 4,
            "LMDB's format " + std::to_string(version) + ", this program reads " + std::to_string(kVersion));
    return false;
  }
  meta->map_bytes = LoadLe<uint64_t>(body + 16);
  meta->page_size = LoadLe<uint32_t>(body + 24);
  meta->free = Database::Parse(body + 24);
  meta->main = Database::Parse(body + 24 + kDatabaseSize);
  meta->last_page = LoadLe<uint64_t>(body + 24 + 2 * kDatabaseSize);
  meta->transaction = LoadLe<uint64_t>(body + 32 + 2 * kDatabaseSize);
  return true;
}

bool Walker::ChooseMeta(Meta* meta) {
  std::string pages = options_.meta_pages;
  Meta metas[2];
  // The second page's place depends on the first one's page size; all that Concord runs on have 4096.
  if (!pages.empty()) page_size_ = pages.size() / 2;
  if (pages.empty() && !Read(0, 2 * page_size_, &pages)) return false;
  for (uint64_t i = 0; i < 2; i++) {
    if (!ReadMeta(std::string_view(pages).substr(i * page_size_, page_size_), i, &metas[i])) return false;
    if (metas[i].page_size != page_size_) {
      Problem(i * page_size_,
              "page size " + std::to_string(metas[i].page_size) + " instead of " + std::to_string(page_size_));
      return false;
    }
    if (metas[i].transaction % 2 != i && metas[i].transaction != 0) {
      Problem(i * page_size_, "the meta page of another transaction: " + std::to_string(metas[i].transaction));
      return false;
    }
  }
  *meta = metas[metas[1].transaction > metas[0].transaction ? 1 : 0];
  return true;
}

bool Walker::Use(uint64_t page, uint64_t count, uint64_t named_by) {
  const std::string by = " (named by page " + std::to_string(named_by) + ")";
  if (page < 2 || page > last_page_ || count > last_page_ - page + 1) {
    PageProblem(named_by, "names page " + std::to_string(page) + ", the last one is " + std::to_string(last_page_));
    return false;
  }
  if (page + count > file_pages_) {
    PageProblem(page, "the file is cut off before it" + by);
    return false;
  }
  for (uint64_t p = page; p < page + count; p++) {
    if (used_[p]) {
      PageProblem(p, "is used twice" + by);
      return false;
    }
    used_[p] = true;
  }
  result_->used_pages += count;
  return true;
}

bool Walker::ReadTreePage(uint64_t page, const Database& database, uint16_t level, uint64_t named_by,
                          std::string* bytes) {
  if (!Use(page, 1, named_by) || !Read(page * page_size_, page_size_, bytes)) return false;
  if (U64(*bytes, 0) != page) {
    PageProblem(page, "bears the number " + std::to_string(U64(*bytes, 0)));
    return false;
  }
  const uint16_t kind = level == database.depth ? kLeaf : kBranch;
  if ((U16(*bytes, 10) & kKindMask) != kind) {
    PageProblem(page, std::string("is no ") + (kind == kLeaf ? "leaf" : "branch") + " page, flags " +
                          std::to_string(U16(*bytes, 10)));
    return false;
  }
  return true;
}

int Walker::Compare(std::string_view a, std::string_view b, bool integer_keys) const {
  if (!integer_keys) return a.compare(b);
  const uint64_t x = U64(a, 0), y = U64(b, 0);
  return x < y ? -1 : x > y ? 1 : 0;
}

bool Walker::ParseNodes(uint64_t page, std::string_view bytes, bool integer_keys, std::vector<Node>* nodes) {
  const bool is_leaf = (U16(bytes, 10) & kLeaf) != 0;
  const uint64_t lower = U16(bytes, 12), upper = U16(bytes, 14);
  const auto damaged = [&](const char* what) {
    PageProblem(page, what);
    return false;
  };
  if (lower <= kPageHeader || lower % 2 != 0 || upper < lower || upper > page_size_)
    return damaged("its bounds do not hold");
  nodes->clear();
  uint64_t nodes_size = 0;
  for (uint64_t at = kPageHeader; at < lower; at += 2) {
    const uint64_t offset = U16(bytes, at);
    if (offset < upper || offset % 2 != 0 || offset + kNodeHeader > page_size_) return damaged("a node lies outside");
    const char* p = bytes.data() + offset;
    const uint64_t low = LoadLe<uint16_t>(p), high = LoadLe<uint16_t>(p + 2), flags = LoadLe<uint16_t>(p + 4);
    const uint64_t key_size = LoadLe<uint16_t>(p + 6);
    uint64_t size = kNodeHeader + key_size;
    Node node{};
    if (is_leaf) {
      node.flags = static_cast<uint16_t>(flags);
      if ((flags & ~uint64_t{kBigValue | kSubDatabase}) != 0) return damaged("a node with unknown flags");
      node.value_size = low | high << 16;
      size += (flags & kBigValue) != 0 ? sizeof(uint64_t) : node.value_size;
    } else {
      node.child = low | high << 16 | flags << 32;
    }
    if (offset + size > page_size_) return damaged("a node ends outside");
    node.key = bytes.substr(offset + kNodeHeader, key_size);
    if (is_leaf) node.value = bytes.substr(offset + kNodeHeader + key_size, size - kNodeHeader - key_size);
    const bool has_key = is_leaf || !nodes->empty();  // a branch's first key counts as the lowest, whatever is there
    if (has_key && (key_size == 0 || (integer_keys && key_size != sizeof(uint64_t))))
      return damaged("an impossible key");
    nodes_size += (size + 1) & ~uint64_t{1};
    nodes->push_back(node);
  }
  if (nodes_size != page_size_ - upper) return damaged("its nodes do not fill it");
  for (size_t i = is_leaf ? 1 : 2; i < nodes->size(); i++) {
    if (Compare((*nodes)[i - 1].key, (*nodes)[i].key, integer_keys) >= 0) return damaged("its keys are not in order");
  }
  return true;
}

void Walker::WalkDatabase(const std::string& name, const Database& database, uint64_t named_by,
                          const LeafFunction& on_leaf) {
  counts_ = {};
  if (database.root != kNoPage) {
    if (database.depth == 0 || database.depth > kDepthMax) {
      PageProblem(named_by, "database " + name + " has depth " + std::to_string(database.depth));
      return;
    }
    const size_t problems = result_->problems.size();
    WalkTree(database, database.root, 1, named_by, nullptr, nullptr, &counts_, on_leaf);
    if (result_->problems.size() != problems) return;  // the counts cannot hold
  }
  const std::pair<const char*, std::pair<uint64_t, uint64_t>> pairs[] = {
      {"branch pages", {database.branch_pages, counts_.branch_pages}},
      {"leaf pages", {database.leaf_pages, counts_.leaf_pages}},
      {"overflow pages", {database.overflow_pages, counts_.overflow_pages}},
      {"entries", {database.entries, counts_.entries}}};
  for (const auto& [what, numbers] : pairs) {
    if (numbers.first != numbers.second)
      PageProblem(named_by, "database " + name + " claims " + std::to_string(numbers.first) + " " + what + ", it has " +
                                std::to_string(numbers.second));
  }
}

void Walker::WalkTree(const Database& database, uint64_t page, uint16_t level, uint64_t named_by,
                      const std::string* lower, const std::string* upper, Counts* counts, const LeafFunction& on_leaf) {
  constexpr uint16_t kIntegerKey = 8;
  const bool integer_keys = (database.flags & kIntegerKey) != 0;
  std::string bytes;
  std::vector<Node> nodes;
  cancelled_ = cancelled_ || (options_.cancelled && options_.cancelled());
  if (Full()) return;
  if (!ReadTreePage(page, database, level, named_by, &bytes) || !ParseNodes(page, bytes, integer_keys, &nodes)) return;
  const bool is_leaf = level == database.depth;
  const size_t first = is_leaf ? 0 : 1;
  if (nodes.size() > first) {
    if (lower != nullptr && Compare(nodes[first].key, *lower, integer_keys) < 0)
      return PageProblem(page, "its first key is lower than its parent's");
    if (upper != nullptr && Compare(nodes.back().key, *upper, integer_keys) >= 0)
      return PageProblem(page, "its last key belongs to the page after it");
  }
  if (is_leaf) {
    counts->leaf_pages++;
    for (const Node& node : nodes) {
      if (Full()) return;
      counts->entries++;
      on_leaf(page, node);
    }
    return;
  }
  counts->branch_pages++;
  for (size_t i = 0; i < nodes.size() && !Full(); i++) {
    const std::string low(nodes[i].key);
    const std::string high(i + 1 < nodes.size() ? nodes[i + 1].key : std::string_view());
    WalkTree(database, nodes[i].child, level + 1, page, i == 0 ? lower : &low, i + 1 < nodes.size() ? &high : upper,
             counts, on_leaf);
  }
}

bool Walker::LoadValue(uint64_t page, const Node& node, bool whole, Counts* counts, StoredValue* value) {
  value->size = node.value_size;
  value->head = node.value;
  if ((node.flags & kBigValue) == 0) return true;
  const uint64_t first = U64(node.value, 0);
  const uint64_t needed = (kPageHeader - 1 + node.value_size) / page_size_ + 1;
  if (!Use(first, 1, page) || !Read(first * page_size_, page_size_, &value_)) return false;
  const uint64_t pages = LoadLe<uint32_t>(value_.data() + 12);
  if (U64(value_, 0) != first || (U16(value_, 10) & kKindMask) != kOverflow || pages < needed) {
    PageProblem(first, "does not begin a value of " + std::to_string(node.value_size) + " bytes");
    return false;
  }
  if (pages > 1 && !Use(first + 1, pages - 1, page)) return false;
  counts->overflow_pages += pages;
  if (whole && !Read(first * page_size_, kPageHeader + node.value_size, &value_)) return false;
  value->head = std::string_view(value_).substr(kPageHeader, node.value_size);
  return true;
}

void Walker::CheckRoot(const std::string& name, const Database& database, uint64_t named_by) {
  std::string bytes;
  std::vector<Node> nodes;
  if (database.root == kNoPage) return;
  if (database.depth == 0 || database.depth > kDepthMax)
    return PageProblem(named_by, "database " + name + " has depth " + std::to_string(database.depth));
  if (ReadTreePage(database.root, database, 1, named_by, &bytes))
    ParseNodes(database.root, bytes, (database.flags & 8) != 0, &nodes);
}

void Walker::ListDatabases(const Database& main, std::map<std::string, std::pair<Database, uint64_t>>* found) {
  WalkDatabase(kMainName, main, 0, [&](uint64_t page, const Node& node) {
    if ((node.flags & kSubDatabase) == 0 || node.value.size() != kDatabaseSize)
      return PageProblem(page, "an entry of the main database is no database");
    (*found)[std::string(node.key)] = {Database::Parse(node.value.data()), page};
  });
  for (const std::string& name : options_.databases) {
    if (!found->contains(name) && result_->problems.empty()) PageProblem(0, "database " + name + " is missing");
  }
  for (const auto& [name, database] : *found) {
    if (std::find(options_.databases.begin(), options_.databases.end(), name) == options_.databases.end())
      PageProblem(database.second, "there is a database of an unknown name");
  }
}

void Walker::WalkFreeList(const Database& database) {
  std::vector<uint64_t> all;
  WalkDatabase(kFreeName, database, 0, [&](uint64_t page, const Node& node) {
    StoredValue value;
    if (!LoadValue(page, node, true, &counts_, &value)) return;
    const uint64_t count = value.size >= 8 ? U64(value.head, 0) : kNoPage;
    if (count > value.size / 8 - 1 || value.size < 8)
      return PageProblem(page, "a list of free pages is longer than its entry");
    uint64_t above = kNoPage;
    for (uint64_t i = 1; i <= count; i++) {
      const uint64_t number = U64(value.head, 8 * i);
      if (number < 2 || number >= above || number > last_page_)
        return PageProblem(page, "a list of free pages names page " + std::to_string(number));
      all.push_back(above = number);
    }
  });
  // Not until all pages in use are known: the free database's own are among them.
  std::vector<bool> free(file_pages_, false);
  uint64_t beyond = 0;
  for (const uint64_t number : all) {
    if (number >= file_pages_) {
      beyond++;  // given back before it was ever written
      continue;
    }
    if (used_[number]) PageProblem(number, "is in use and in the list of free pages");
    if (free[number]) PageProblem(number, "is in the list of free pages twice");
    free[number] = true;
  }
  if (last_page_ >= file_pages_ && last_page_ + 1 - file_pages_ != beyond)
    PageProblem(0, "says that the last page is " + std::to_string(last_page_) + ", and the file has " +
                       std::to_string(file_pages_) + ", with " + std::to_string(beyond) + " free ones behind them");
  result_->free_pages = all.size();
}

Status Walker::Run() {
  const Status status = Walk();
  return cancelled_ ? Status(Code::kShutdown, "ending") : status;
}

Status Walker::Walk() {
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd_ < 0 || fstat(fd_, &info) != 0)
    return {errno == ENOENT ? Code::kNotFound : Code::kIoError, path_ + ": " + strerror(errno)};
  result_->file_bytes = static_cast<uint64_t>(info.st_size);
  Meta meta;
  if (!ChooseMeta(&meta)) return Status::Ok();
  file_pages_ = result_->file_bytes / page_size_;
  last_page_ = result_->last_page = meta.last_page;
  result_->transaction = meta.transaction;
  used_.assign(file_pages_, false);
  if (last_page_ >= meta.map_bytes / page_size_) {
    PageProblem(0, "says that the last page is " + std::to_string(last_page_) + ", behind the end of the map");
    return Status::Ok();
  }

  std::map<std::string, std::pair<Database, uint64_t>> found;
  ListDatabases(meta.main, &found);
  for (const std::string& name : options_.databases) {
    const auto it = found.find(name);
    if (it == found.end()) continue;
    const auto& [database, named_by] = it->second;
    if (!options_.only.empty() && options_.only != name) {
      CheckRoot(name, database, named_by);
      continue;
    }
    WalkDatabase(name, database, named_by, [&](uint64_t page, const Node& node) {
      StoredValue value;
      if (node.flags == kSubDatabase) return PageProblem(page, "an entry claims to be a database");
      if (!LoadValue(page, node, false, &counts_, &value)) return;
      result_->entries++;
      on_entry_(name, node.key, value);
    });
  }
  if (!options_.only.empty()) {
    CheckRoot(kFreeName, meta.free, 0);
    return Status::Ok();
  }
  WalkFreeList(meta.free);
  const uint64_t known = result_->used_pages + result_->free_pages + 2;
  if (result_->problems.empty() && known <= last_page_) result_->lost_pages = last_page_ + 1 - known;
  return Status::Ok();
}

}  // namespace

Status WalkPages(const std::string& path, const PageWalkOptions& options, const EntryFunction& on_entry,
                 PageWalkResult* result) {
  return Walker(path, options, on_entry, result).Run();
}

}  // namespace concord
