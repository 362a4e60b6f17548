// The server under torture: its processes, found in /proc so that they can be found at any moment, and its restart.
//
// Not thread-safe: one thread kills and restarts.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace torture {

struct ServerOptions {
  std::string data;  // data directory
  std::string bin;   // directory of pg_ctl
  std::string log;
};

enum class Victim { kSidecar, kGateway, kLauncher, kBackend, kOther, kPostmaster, kAll };
inline constexpr int kVictims = 7;
const char* VictimName(Victim victim);

class Server {
 public:
  explicit Server(ServerOptions options);

  // Kills with -9; false if there is no such process now. `pick` chooses among several.
  bool Kill(Victim victim, unsigned pick);
  // False if the postmaster has ended: killed, or by itself, as it does when a process dies that was recovering for it.
  bool Running() const;
  // Starts the server again; tries until it succeeds or the time is over.
  bool Restart(int timeout_ms);

 private:
  struct Process {
    pid_t pid;
    pid_t parent;
    std::string command;
  };
  static std::vector<Process> Processes();
  void EndOrphanedStartup() const;
  pid_t Postmaster() const;
  std::vector<pid_t> Find(Victim victim) const;

  const ServerOptions options_;
};

}  // namespace torture
