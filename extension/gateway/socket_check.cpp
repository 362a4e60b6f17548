#include "gateway/socket_check.h"

#include <sys/stat.h>

#include <filesystem>
#include <string_view>
#include <system_error>

namespace concord {

namespace {

constexpr std::string_view kScheme = "unix:";
constexpr std::string_view kAbstractScheme = "unix-abstract:";

std::string Foreign(const std::string& what, uid_t owner, uid_t user) {
  return what + " belongs to user " + std::to_string(owner) + ", and this server runs as user " + std::to_string(user);
}

}  // namespace

std::string SocketDistrust(const std::string& address, uid_t user) {
  if (address.starts_with(kAbstractScheme)) return address + " is an abstract socket, which anybody may listen on";
  if (!address.starts_with(kScheme)) return {};
  std::string path = address.substr(kScheme.size());
  if (path.starts_with("//")) path.erase(0, 2);

  // Where a symbolic link leads to is what counts.
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
  if (error) return {};  // it cannot be connected to either
  const std::string directory = real.parent_path().string();
  struct stat info;
  if (stat(directory.c_str(), &info) != 0) return {};
  if (info.st_uid != user && info.st_uid != 0) return Foreign("directory " + directory, info.st_uid, user);
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (info.st_mode & S_ISVTX) == 0)
    return "directory " + directory +
           " may be written by others, who could put a socket of theirs there; chmod go-w it";
  if (stat(real.c_str(), &info) == 0 && info.st_uid != user && info.st_uid != 0)
    return Foreign(real.string(), info.st_uid, user);
  return {};
}

}  // namespace concord
