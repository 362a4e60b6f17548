#include "server.h"

#include <dirent.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace torture {
namespace {

std::string ReadAll(const std::string& path) {
  const std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void Reap() {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace

const char* VictimName(Victim victim) {
  static const char* const names[kVictims] = {"sidecar",      "gateway",    "launcher", "backend",
                                              "other worker", "postmaster", "all"};
  return names[static_cast<int>(victim)];
}

Server::Server(ServerOptions options) : options_(std::move(options)) {
  // What dies becomes our child and is reaped at once: a postmaster does not start while its predecessor is a zombie.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

std::vector<Server::Process> Server::Processes() {
  std::vector<Process> processes;
  DIR* const directory = opendir("/proc");
  if (directory == nullptr) return processes;
  while (const dirent* entry = readdir(directory)) {
    const pid_t pid = atoi(entry->d_name);
    if (pid <= 0) continue;
    const std::string base = "/proc/" + std::string(entry->d_name);
    const std::string stat = ReadAll(base + "/stat");
    const size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos || name_end + 4 >= stat.size() || stat[name_end + 2] == 'Z') continue;
    std::string command = ReadAll(base + "/cmdline");
    std::replace(command.begin(), command.end(), '\0', ' ');
    processes.push_back({pid, atoi(stat.c_str() + name_end + 4), std::move(command)});
  }
  closedir(directory);
  return processes;
}

pid_t Server::Postmaster() const { return atoi(ReadAll(options_.data + "/postmaster.pid").c_str()); }

std::vector<pid_t> Server::Find(Victim victim) const {
  const pid_t postmaster = Postmaster();
  std::vector<pid_t> found;
  for (const Process& process : Processes()) {
    const bool child = process.parent == postmaster && process.command.starts_with("postgres: ");
    const auto is = [&](const char* name) { return child && process.command.find(name) != std::string::npos; };
    const bool sidecar = process.command.find("concordd ") != std::string::npos &&
                         process.command.find("--dir=" + options_.data + "/") != std::string::npos;
    const bool worker = is("concord gateway") || is("concord launcher");
    const bool backend = is("[local]");
    bool hit = false;
    switch (victim) {
      case Victim::kSidecar: hit = sidecar; break;
      case Victim::kGateway: hit = is("concord gateway"); break;
      case Victim::kLauncher: hit = is("concord launcher"); break;
      case Victim::kBackend: hit = backend; break;
      case Victim::kOther: hit = child && !worker && !backend; break;
      case Victim::kPostmaster: hit = process.pid == postmaster; break;
      case Victim::kAll: hit = process.pid == postmaster || child || sidecar; break;
    }
    if (!hit) continue;
    // The postmaster first, or it would start to clean up after the others.
    found.insert(process.pid == postmaster ? found.begin() : found.end(), process.pid);
  }
  return found;
}

// A startup process that has lost its checkpointer and then its postmaster waits a minute for the checkpointer
// (RequestCheckpoint), and holds the shared memory meanwhile. This is PostgreSQL's own; it is done what its refusal to
// start asks for.
void Server::EndOrphanedStartup() const {
  for (const Process& process : Processes()) {
    std::error_code error;
    if (process.command.starts_with("postgres: startup") &&
        std::filesystem::equivalent("/proc/" + std::to_string(process.pid) + "/cwd", options_.data, error))
      kill(process.pid, SIGKILL);
  }
}

bool Server::Kill(Victim victim, unsigned pick) {
  std::vector<pid_t> found = Find(victim);
  if (found.empty()) return false;
  if (victim != Victim::kAll) found = {found[pick % found.size()]};
  bool killed = false;
  for (const pid_t pid : found) killed |= kill(pid, SIGKILL) == 0;
  return killed;
}

bool Server::Running() const {
  Reap();
  const pid_t postmaster = Postmaster();
  return postmaster > 0 && kill(postmaster, 0) == 0;
}

bool Server::Restart(int timeout_ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  std::string program = options_.bin + "/pg_ctl";
  std::vector<std::string> words = {program, "-D", options_.data, "-l", options_.log, "-w", "-t", "60", "-s", "start"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  // Some starts fail while processes of the life before still hold its shared memory; they are about to end.
  while (std::chrono::steady_clock::now() < end) {
    Reap();
    pid_t pid = 0;
    int status = -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", 1, 0);
    if (posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ) == 0) waitpid(pid, &status, 0);
    posix_spawn_file_actions_destroy(&actions);
    if (status == 0) return true;
    if (!Running()) EndOrphanedStartup();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

}  // namespace torture
