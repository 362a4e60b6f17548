// concord_simulation: runs seeds and prints those that fail (README.md).
//
// Each seed has a process of its own, forked from one that has done nothing else: its heap, whose addresses order some
// sets of the product's, is the same whatever was run before it. So a seed replays exactly, alone or among others, with
// the same binary on the same machine.
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include "sidecar/rpc/log.h"
#include "sidecar/simulation/planted.h"
#include "sidecar/simulation/run.h"

namespace concord::simulation {
namespace {

constexpr unsigned kSeedSecondsMax = 300;  // of real time: a run that goes on for ever is a finding
constexpr int kJobsMax = 64;

struct Options {
  uint64_t base = 1;
  uint64_t seeds = 1;
  uint64_t twice = 0;  // so many of them are run again, and must be the same
  int jobs = 1;
  bool until_failure = false;
  bool verbose = false;
  bool log = false;
  std::string planted;
  RunOptions run;
};

// What the processes tell each other.
struct Shared {
  std::atomic<uint64_t> runs, failed, transactions, committed, refused, unknown, virtual_ms, first_failed;
  std::atomic<bool> stop;
  std::atomic<uint64_t> fingerprints[kJobsMax];
};

Shared* shared = nullptr;
pid_t main_pid = 0;

std::string DirectoryOf(const Options& options, int job) {
  char name[64];
  snprintf(name, sizeof name, "/concord-simulation.%010d.%02d", main_pid, job);
  return options.run.directory + name;
}

[[noreturn]] void RunOne(const Options& options, uint64_t seed, int job) {
  alarm(kSeedSecondsMax);
  RunOptions run = options.run;
  run.directory = DirectoryOf(options, job);
  const RunResult result = RunSeed(seed, run);
  shared->runs++;
  shared->transactions += result.transactions;
  shared->committed += result.committed;
  shared->refused += result.refused;
  shared->unknown += result.unknown;
  shared->virtual_ms += static_cast<uint64_t>(result.virtual_ms);
  shared->fingerprints[job] = result.fingerprint;
  const bool failed = !result.violations.empty();
  std::string text;
  if (failed || options.verbose) {
    char line[400];
    snprintf(line, sizeof line,
             "seed %" PRIu64 " %s fingerprint=%016" PRIx64 " switches=%" PRIu64 " virtual_ms=%" PRId64
             " transactions=%" PRIu64 " committed=%" PRIu64 " refused=%" PRIu64 " unknown=%" PRIu64 " faults: ",
             seed, failed ? "FAILED" : "ok", result.fingerprint, result.switches, result.virtual_ms,
             result.transactions, result.committed, result.refused, result.unknown);
    text = line + result.faults + "\n";
    for (size_t i = 0; i < std::min<size_t>(result.violations.size(), 5); i++)
      text += "  " + result.violations[i] + "\n";
  }
  if (write(STDOUT_FILENO, text.data(), text.size()) < 0) _exit(2);
  // Here, and not before the next run: that must find the heap as this one did.
  std::error_code error;
  std::filesystem::remove_all(run.directory, error);
  _exit(failed ? 1 : 0);
}

// True if the seed has passed. Allocates nothing: see above.
bool ForkOne(const Options& options, uint64_t seed, int job) {
  const pid_t child = fork();
  if (child == 0) RunOne(options, seed, job);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  if (WIFSIGNALED(status)) {
    char line[100];
    const int size = snprintf(line, sizeof line, "seed %" PRIu64 " FAILED: %s\n", seed,
                              WTERMSIG(status) == SIGALRM ? "does not end" : strsignal(WTERMSIG(status)));
    if (write(STDOUT_FILENO, line, static_cast<size_t>(size)) < 0) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void NoteFailure(uint64_t seed) {
  shared->failed++;
  uint64_t first = shared->first_failed;
  while ((first == 0 || seed < first) && !shared->first_failed.compare_exchange_weak(first, seed)) {
  }
}

int Work(const Options& options, int job) {
  for (uint64_t i = static_cast<uint64_t>(job); i < options.seeds; i += static_cast<uint64_t>(options.jobs)) {
    if (shared->stop) break;
    const uint64_t seed = options.base + i;
    bool good = ForkOne(options, seed, job);
    if (good && i < options.twice) {
      const uint64_t first = shared->fingerprints[job];
      good = ForkOne(options, seed, job) && shared->fingerprints[job] == first;
      if (!good) printf("seed %" PRIu64 " FAILED: run again it is another run\n", seed), fflush(stdout);
    }
    if (good) continue;
    NoteFailure(seed);
    if (options.until_failure) shared->stop = true;
  }
  return 0;
}

int Main(int argc, char** argv) {
  Options options;
  options.run.directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path().string();
  options.jobs = static_cast<int>(std::clamp<long>(sysconf(_SC_NPROCESSORS_ONLN), 1, kJobsMax));
  CLI::App app("Deterministic simulation of a Concord cluster: exit status 0 only if every seed passes.",
               "concord_simulation");
  app.add_option("--base", options.base, "the first seed")->capture_default_str();
  app.add_option("--seeds", options.seeds, "how many")->capture_default_str();
  app.add_option("--twice", options.twice, "so many of them are run twice, and must come out the same")
      ->capture_default_str();
  app.add_option("--jobs", options.jobs, "side by side")->check(CLI::Range(1, kJobsMax))->capture_default_str();
  app.add_option("--seconds", options.run.seconds, "of misfortunes, in virtual time")->capture_default_str();
  app.add_option("--directory", options.run.directory, "for the disks")->capture_default_str();
  app.add_option("--planted", options.planted, "the name of a planted bug (planted.h)");
  app.add_flag("--log", options.log, "shows the parts' own log on standard error");
  app.add_flag("!--no-faults", options.run.faults, "nothing goes wrong");
  app.add_flag("--until-failure", options.until_failure, "ends at the first seed that fails");
  app.add_flag("--verbose", options.verbose, "prints every seed");
  CLI11_PARSE(app, argc, argv);
  if (!options.planted.empty() && !Plant(options.planted)) {
    fprintf(stderr, "there is no planted bug of the name %s; there are: %s\n", options.planted.c_str(),
            PlantedNames().c_str());
    return 2;
  }
  main_pid = getpid();
  // Always written, as it takes locks: a run must be the same whether somebody reads its log or not.
  if (!InitLog("info", options.log ? "/dev/stderr" : "/dev/null").ok()) return 2;
  shared =
      static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (shared == MAP_FAILED) return 2;
  for (int job = 0; job < options.jobs; job++) {
    if (fork() == 0) _exit(Work(options, job));
  }
  while (wait(nullptr) > 0) {
  }
  std::error_code error;
  for (int job = 0; job < options.jobs; job++) std::filesystem::remove_all(DirectoryOf(options, job), error);
  printf("%" PRIu64 " runs of seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " failed; %" PRIu64
         " s of virtual time, %" PRIu64 " transactions, %" PRIu64 " committed, %" PRIu64 " refused, %" PRIu64
         " unknown\n",
         shared->runs.load(), options.base, options.base + options.seeds - 1, shared->failed.load(),
         shared->virtual_ms / 1000, shared->transactions.load(), shared->committed.load(), shared->refused.load(),
         shared->unknown.load());
  if (shared->failed > 0)
    printf("first failed seed: %" PRIu64 "; again: make sim SEEDS=1 SEED_BASE=%" PRIu64 "\n",
           shared->first_failed.load(), shared->first_failed.load());
  return shared->failed == 0 && shared->runs > 0 ? 0 : 1;
}

}  // namespace
}  // namespace concord::simulation

int main(int argc, char** argv) {
  const int persona = personality(0xffffffff);
  if ((persona & ADDR_NO_RANDOMIZE) == 0 && personality(static_cast<unsigned long>(persona) | ADDR_NO_RANDOMIZE) != -1)
    execv("/proc/self/exe", argv);
  return concord::simulation::Main(argc, argv);
}
