#include "sidecar/metastore/identity.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "sidecar/metastore/atomic_file.h"

namespace concord {
namespace {

constexpr std::string_view kName = "concord directory";
constexpr std::string_view kClusterLine = "\ncluster ";
constexpr std::string_view kOwnerLine = "\nowner ";
constexpr int kNameFormat = 1;
constexpr std::string_view kIdLine = "\nid ";
constexpr char kNobody[] = "-";
constexpr size_t kIdDigits = 32;

std::string Encode(const std::string& cluster_id, const std::string& owner) {
  return WithCheckLine(std::string(kName) + " " + std::to_string(kDirectoryFormat) + std::string(kClusterLine) +
                       cluster_id + std::string(kOwnerLine) + owner + "\n");
}

Status RandomId(std::string* id) {
  unsigned char bytes[kIdDigits / 2];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
    return {Code::kIoError, std::string("getrandom: ") + strerror(errno)};
  id->clear();
  char digits[3];
  for (const unsigned char byte : bytes) {
    snprintf(digits, sizeof digits, "%02x", byte);
    *id += digits;
  }
  return Status::Ok();
}

// The rest of the line of `content` that begins with `line`, which begins with a newline.
std::string Field(const std::string& content, std::string_view line) {
  const size_t at = content.find(line);
  if (at == std::string::npos) return {};
  const size_t begin = at + line.size();
  return content.substr(begin, content.find('\n', begin) - begin);
}

Status ReadIdentityFile(const std::string& directory, std::string* cluster_id, std::string* owner) {
  const std::string path = directory + "/" + kIdentityFile;
  std::string content;
  Status status = ReadSmallFile(path, &content);
  if (status.ok()) status = CheckTextFile(path, kName, kDirectoryFormat, content);
  if (!status.ok()) return status;
  *cluster_id = Field(content, kClusterLine);
  *owner = Field(content, kOwnerLine);
  if (cluster_id->size() != kIdDigits || content != Encode(*cluster_id, *owner))
    return {Code::kCorruption, path + " is damaged: it names no cluster"};
  return Status::Ok();
}

bool HasSegments(const std::string& journal) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(journal, error)) {
    if (entry.path().extension() == ".segment") return true;
  }
  return false;
}

std::string NoData(const std::string& expected) {
  return ". The rows of this server's Concord tables are in the directory of cluster " + expected +
         "; put that back where it was, or restore it from a backup (docs/failures/directory.md)";
}

// The id in a file for something of this `kind`, which is made at its first use.
Status OpenName(const std::string& path, const std::string& kind, const char* remedy, std::string* id) {
  const std::string name = "concord " + kind;
  const auto encode = [&](const std::string& text) {
    return WithCheckLine(name + " " + std::to_string(kNameFormat) + std::string(kIdLine) + text + "\n");
  };
  std::string content;
  Status status = ReadSmallFile(path, &content);
  if (status.code() == Code::kNotFound) {
    status = RandomId(id);
    return status.ok() ? MakeFile(path, encode(*id)) : status;
  }
  if (status.ok()) status = CheckTextFile(path, name, kNameFormat, content);
  if (!status.ok()) return status;
  *id = Field(content, kIdLine);
  if (!IsId(*id) || content != encode(*id))
    return {Code::kCorruption, path + " is damaged: it names no " + kind + "; " + remedy};
  return Status::Ok();
}

}  // namespace

Status ReadClusterId(const std::string& directory, std::string* cluster_id) {
  std::string owner;
  return ReadIdentityFile(directory, cluster_id, &owner);
}

Status RequireDirectory(const std::string& directory, const std::string& expected) {
  if (expected.empty() || std::filesystem::exists(directory)) return Status::Ok();
  return {Code::kInvalid, directory + " is missing" + NoData(expected)};
}

Status OpenIdentity(const std::string& directory, const std::string& expected, const std::string& owner,
                    bool holds_journal, std::string* cluster_id, const std::function<Status(std::string*)>& choose) {
  std::string found_owner;
  Status status = ReadIdentityFile(directory, cluster_id, &found_owner);
  if (status.code() == Code::kNotFound) {
    if (!expected.empty())
      return {Code::kInvalid, directory + " is empty or not Concord's: it has no file identity" + NoData(expected)};
    for (const char* name : {"metastore", "journal", "storage"}) {
      if (std::filesystem::exists(directory + "/" + name))
        return {Code::kCorruption, directory + " has a " + name +
                                       ", but its file identity is missing; restore a backup of the whole directory"};
    }
    status = choose ? choose(cluster_id) : RandomId(cluster_id);
    if (status.ok())
      status = MakeFile(directory + "/" + kIdentityFile, Encode(*cluster_id, owner.empty() ? kNobody : owner));
    return status;
  }
  if (!status.ok()) return status;
  if (!expected.empty() && *cluster_id != expected)
    return {Code::kInvalid, directory + " belongs to cluster " + *cluster_id + NoData(expected)};
  if (!owner.empty() && found_owner != kNobody && found_owner != owner)
    return {Code::kInvalid, directory + " belongs to the PostgreSQL cluster with system identifier " + found_owner +
                                ", not to " + owner + " (docs/failures/directory.md)"};
  // A leader has been there, and before that a journal was opened: it makes its first segment at once.
  if (holds_journal && std::filesystem::exists(directory + "/metastore") && !HasSegments(directory + "/journal"))
    return {Code::kCorruption, directory + "/journal has lost its segments; restore a backup of the whole directory"};
  return Status::Ok();
}

Status OpenReplicaId(const std::string& directory, std::string* replica_id) {
  return OpenName(directory + "/" + kReplicaIdFile, "replica", "remove it, and a new name is made", replica_id);
}

Status OpenNodeId(const std::string& directory, std::string* node_id) {
  return OpenName(directory + "/" + kNodeIdFile, "node", "restore a backup of it", node_id);
}

bool IsId(const std::string& text) {
  return text.size() == kIdDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace concord
