// What a disk may hold after the machine has crashed, given what a process did to its files (recording.h).
//
// What was synced is there. Of the rest, each 4 KiB page has the content of its last sync or of any write since, or a
// mixture of them by sectors of 512 bytes; a file has its synced size or any it had since; the changes of a directory
// that were not followed by its sync are there up to some point, or each of them by chance. That is more than any file
// system does to us, and what POSIX allows.
//
// Not thread-safe. Invariant: `synced` of a file or directory is what every image of this moment has, changed by some
// of `pending` only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "regress/crash/recording.h"

namespace concord::crash {

using Random = std::mt19937_64;

struct Record {
  RecordingHead head;
  std::string_view bytes;
};

// The records of a recording; `bytes` must outlive them. One that was cut short at the end is left out.
std::vector<Record> ParseRecording(std::string_view bytes);

// Syncs that the disk lies about, to see the test fail: of files, or of directories, below a directory.
struct Lies {
  std::string files_below;
  std::string directories_below;
};

class Disk {
 public:
  // Holds what is below `directory`, all of it synced.
  explicit Disk(const std::string& directory, Lies lies = {});
  ~Disk();

  void Apply(const Record& record);
  // Writes one of the possible states into a new directory.
  void Crash(Random* random, const std::string& directory) const;

 private:
  struct Node;
  using NodePtr = std::shared_ptr<Node>;

  // The present node of a path below the directory, or null; Parent: the directory that has it, and the last name.
  NodePtr Find(std::string_view path) const;
  NodePtr Parent(std::string_view path, std::string* name) const;
  void Link(std::string_view path, NodePtr node);
  void Sync(Node* node, uint64_t upto);
  static void Write(Node* node, uint64_t offset, std::string_view bytes, uint64_t at);
  static void Resize(Node* node, uint64_t size, uint64_t at);

  const Lies lies_;
  NodePtr root_;
  std::map<uint64_t, std::pair<NodePtr, std::string>> open_;  // by handle: what and its path when it was opened
  std::map<uint64_t, uint64_t> syncing_;                      // by number of the sync: when it began
  uint64_t now_ = 0;                                          // counts the records
};

}  // namespace concord::crash
