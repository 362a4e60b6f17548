#include "regress/crash/disk_image.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace concord::crash {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kSector = 512;

}  // namespace

struct Disk::Node {
  template <typename T>
  struct Change {
    uint64_t at;
    T what;
  };
  using Entries = std::map<std::string, NodePtr>;

  bool directory = false;
  // Of a file. Strings are as long as the larger of both sizes so far.
  std::string present, synced;
  uint64_t present_size = 0, synced_size = 0;
  std::map<uint64_t, std::vector<Change<std::string>>> pages;  // by page number: each content since the last sync
  std::vector<Change<uint64_t>> sizes;
  // Of a directory.
  Entries entries, synced_entries;
  std::vector<Change<std::vector<std::pair<std::string, NodePtr>>>> changes;  // names that change at once; null: gone

  void Change1(std::string name, NodePtr node, uint64_t at) { ChangeEntries({{std::move(name), std::move(node)}}, at); }
  void ChangeEntries(std::vector<std::pair<std::string, NodePtr>> what, uint64_t at) {
    ApplyTo(&entries, what);
    changes.push_back({at, std::move(what)});
  }
  static void ApplyTo(Entries* entries, const std::vector<std::pair<std::string, NodePtr>>& what) {
    for (const auto& [name, node] : what) {
      if (node == nullptr) {
        entries->erase(name);
      } else {
        (*entries)[name] = node;
      }
    }
  }
  std::string SyncedPage(uint64_t page) const {
    std::string content = page * kPage < synced.size() ? synced.substr(page * kPage, kPage) : std::string();
    content.resize(kPage);
    return content;
  }

  static NodePtr Load(const std::filesystem::path& path) {
    auto node = std::make_shared<Node>();
    if (std::filesystem::is_directory(path)) {
      node->directory = true;
      for (const auto& entry : std::filesystem::directory_iterator(path)) {
        if (entry.is_directory() || entry.is_regular_file())
          node->entries[entry.path().filename().string()] = Load(entry.path());
      }
      node->synced_entries = node->entries;
    } else {
      std::ifstream file(path, std::ios::binary);
      node->present.assign(std::istreambuf_iterator<char>(file), {});
      node->synced = node->present;
      node->present_size = node->synced_size = node->present.size();
    }
    return node;
  }

  // What the page cache had written back of it, by chance.
  void CrashFile(Random* random, unsigned kept_percent, const std::string& path) const {
    uint64_t size = synced_size;
    if (!sizes.empty() && (*random)() % 100 < kept_percent) size = sizes[(*random)() % sizes.size()].what;
    std::string content = synced;
    content.resize(std::max<size_t>({content.size(), present.size(), size}));
    for (const auto& [page, versions] : pages) {
      const auto pick = [&, page = page, &versions = versions]() -> std::string {
        if ((*random)() % 100 >= kept_percent) return SyncedPage(page);
        return (*random)() % 2 == 0 ? versions.back().what : versions[(*random)() % versions.size()].what;
      };
      std::string kept = pick();
      if ((*random)() % 4 == 0) {
        for (size_t sector = 0; sector < kPage; sector += kSector)
          kept.replace(sector, kSector, pick(), sector, kSector);
      }
      if (content.size() < (page + 1) * kPage) content.resize((page + 1) * kPage);
      content.replace(page * kPage, kPage, kept);
    }
    content.resize(size);
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    file.close();
    if (!file) throw std::runtime_error("write " + path);
    chmod(path.c_str(), 0600);
  }

  void CrashDirectory(Random* random, unsigned kept_percent, const std::string& path) const {
    std::filesystem::create_directory(path);
    chmod(path.c_str(), 0700);
    Entries left = synced_entries;
    const bool in_order = (*random)() % 2 == 0;
    const size_t prefix = (*random)() % (changes.size() + 1);
    for (size_t i = 0; i < changes.size(); i++) {
      if (in_order ? i < prefix : (*random)() % 100 < kept_percent) ApplyTo(&left, changes[i].what);
    }
    for (const auto& [name, node] : left) {
      if (node->directory) {
        node->CrashDirectory(random, kept_percent, path + "/" + name);
      } else {
        node->CrashFile(random, kept_percent, path + "/" + name);
      }
    }
  }
};

std::vector<Record> ParseRecording(std::string_view bytes) {
  std::vector<Record> records;
  while (bytes.size() >= sizeof(RecordingHead)) {
    Record record;
    memcpy(&record.head, bytes.data(), sizeof record.head);
    if (record.head.size < sizeof record.head || record.head.size > bytes.size()) break;
    record.bytes = bytes.substr(sizeof record.head, record.head.size - sizeof record.head);
    bytes.remove_prefix(record.head.size);
    records.push_back(record);
  }
  return records;
}

Disk::Disk(const std::string& directory, Lies lies) : lies_(std::move(lies)), root_(Node::Load(directory)) {}
Disk::~Disk() = default;

Disk::NodePtr Disk::Find(std::string_view path) const {
  if (path.empty()) return root_;
  std::string name;
  const NodePtr parent = Parent(path, &name);
  if (parent == nullptr) return nullptr;
  const auto found = parent->entries.find(name);
  return found == parent->entries.end() ? nullptr : found->second;
}

Disk::NodePtr Disk::Parent(std::string_view path, std::string* name) const {
  const size_t slash = path.rfind('/');
  *name = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
  return slash == std::string_view::npos ? root_ : Find(path.substr(0, slash));
}

void Disk::Link(std::string_view path, NodePtr node) {
  std::string name;
  if (const NodePtr parent = Parent(path, &name); parent != nullptr) parent->Change1(name, std::move(node), now_);
}

void Disk::Resize(Node* node, uint64_t size, uint64_t at) {
  for (uint64_t page = size / kPage; page * kPage < node->present_size; page++) {
    const uint64_t from = std::max(size, page * kPage);
    const uint64_t to = std::min<uint64_t>(node->present_size, (page + 1) * kPage);
    if (from < to) Write(node, from, std::string(to - from, '\0'), at);
  }
  node->present.resize(std::max<size_t>(node->present.size(), size));
  if (size != node->present_size) node->sizes.push_back({at, size});
  node->present_size = size;
}

void Disk::Write(Node* node, uint64_t offset, std::string_view bytes, uint64_t at) {
  if (bytes.empty()) return;
  const uint64_t end = offset + bytes.size();
  if (node->present.size() < end) node->present.resize(end);
  node->present.replace(offset, bytes.size(), bytes);
  for (uint64_t page = offset / kPage; page * kPage < end; page++) {
    std::string content = node->present.substr(page * kPage, kPage);
    content.resize(kPage);
    node->pages[page].push_back({at, std::move(content)});
  }
  if (end > node->present_size) {
    node->sizes.push_back({at, end});
    node->present_size = end;
  }
}

void Disk::Sync(Node* node, uint64_t upto) {
  const auto settle = [upto](auto* changes, auto&& take) {
    size_t done = 0;
    while (done < changes->size() && (*changes)[done].at <= upto) take((*changes)[done++].what);
    changes->erase(changes->begin(), changes->begin() + static_cast<std::ptrdiff_t>(done));
  };
  settle(&node->changes, [&](const auto& what) { Node::ApplyTo(&node->synced_entries, what); });
  settle(&node->sizes, [&](uint64_t size) { node->synced_size = size; });
  for (auto it = node->pages.begin(); it != node->pages.end();) {
    const uint64_t offset = it->first * kPage;
    settle(&it->second, [&](const std::string& content) {
      if (node->synced.size() < offset + kPage) node->synced.resize(offset + kPage);
      node->synced.replace(offset, kPage, content);
    });
    it = it->second.empty() ? node->pages.erase(it) : std::next(it);
  }
}

void Disk::Apply(const Record& record) {
  now_++;
  const RecordingHead& head = record.head;
  switch (static_cast<RecordingType>(head.type)) {
    case RECORDING_OPEN: {
      NodePtr node = Find(record.bytes);
      if (node == nullptr) {
        node = std::make_shared<Node>();
        Link(record.bytes, node);
      } else if (head.a != 0) {
        Resize(node.get(), 0, now_);
      }
      open_[head.handle] = {node, std::string(record.bytes)};
      break;
    }
    case RECORDING_WRITE: {
      Node* node = open_.at(head.handle).first.get();
      Write(node, head.a, record.bytes, now_);
      if (head.b != 0) Sync(node, now_);
      break;
    }
    case RECORDING_SIZE: {
      Node* node = open_.at(head.handle).first.get();
      if (head.b == 0 || head.a > node->present_size) Resize(node, head.a, now_);
      break;
    }
    case RECORDING_SYNC_BEGIN: syncing_[head.a] = now_; break;
    case RECORDING_SYNC_END: {
      const auto& [node, path] = open_.at(head.handle);
      const std::string& lied = node->directory ? lies_.directories_below : lies_.files_below;
      if (lied.empty() || !path.starts_with(lied)) Sync(node.get(), syncing_.at(head.a));
      syncing_.erase(head.a);
      break;
    }
    case RECORDING_RENAME: {
      const size_t nul = record.bytes.find('\0');
      const std::string_view from = record.bytes.substr(0, nul), to = record.bytes.substr(nul + 1);
      const NodePtr node = Find(from);
      std::string from_name, to_name;
      const NodePtr parent = Parent(from, &from_name);
      if (node == nullptr || parent != Parent(to, &to_name))
        throw std::runtime_error("recorded a rename that is not within one directory");
      parent->ChangeEntries({{from_name, head.a != 0 ? Find(to) : nullptr}, {to_name, node}}, now_);
      break;
    }
    case RECORDING_UNLINK:
    case RECORDING_RMDIR:
      if (Find(record.bytes) != nullptr) Link(record.bytes, nullptr);
      break;
    case RECORDING_MKDIR: {
      if (record.bytes.empty()) break;  // the directory itself
      auto node = std::make_shared<Node>();
      node->directory = true;
      Link(record.bytes, node);
      break;
    }
    case RECORDING_ACK: break;
  }
}

void Disk::Crash(Random* random, const std::string& directory) const {
  constexpr unsigned kKeptPercent[] = {0, 10, 50, 90, 100};
  root_->CrashDirectory(random, kKeptPercent[(*random)() % std::size(kKeptPercent)], directory);
}

}  // namespace concord::crash
