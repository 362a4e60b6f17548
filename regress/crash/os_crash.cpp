// os_crash: crashes of the operating system, with a real concordd. See --help and docs/failures/os_crash.md.
//
// A round: concordd starts on a directory under the recorder (recorder.c), what it finds is compared, it gets load, and
// is killed or stopped. Then a moment of its life is chosen, often one of its recovery or of a checkpoint, and the next
// round starts on what a disk might hold had the machine crashed then (disk_image.h), with another boot id.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <thread>

#include "regress/crash/disk_image.h"
#include "regress/crash/load.h"
#include "sidecar/testing/files.h"

namespace concord::crash {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string concordd, recorder, work;
  uint64_t seed = 0;
  int seeds = 1;
  int rounds = 6;
  size_t transactions_max = 200;
  Lies lies;
};

struct Tally {
  size_t crashes = 0, in_recovery = 0, acknowledged = 0, went_back = 0;
};

// A concordd on `<round>/dir`, under the recorder.
class Sidecar {
 public:
  Sidecar(const Options& options, const std::string& round, Random* random) : address_("unix:" + round + "/sock") {
    std::ofstream(round + "/boot_id") << "boot of " << round << "\n";
    const unsigned sync_us = (*random)() % 3 == 0 ? 1 : static_cast<unsigned>(1 + (*random)() % 8000);
    std::vector<std::string> environment = {
        "LD_PRELOAD=" + options.recorder,
        "CONCORD_RECORD_DIR=" + round + "/dir",
        "CONCORD_RECORD_LOG=" + round + "/recording",
        "CONCORD_RECORD_BOOT_ID=" + round + "/boot_id",
        "CONCORD_RECORD_SYNC_US=" + std::to_string(sync_us),
    };
    // Small segments and short times, so that much happens in little time.
    std::vector<std::string> arguments = {"concordd",
                                          "--dir",
                                          round + "/dir",
                                          "--listen",
                                          address_,
                                          "--log-file",
                                          round + "/concordd.log",
                                          "--segment-size",
                                          "65536",
                                          "--retention-ms",
                                          "0",
                                          "--journal-retention-ms",
                                          "0",
                                          "--map-size",
                                          "1073741824",
                                          "--checkpoint-interval-ms",
                                          std::to_string(1 + (*random)() % 40)};
    const auto pointers = [](std::vector<std::string>* strings) {
      std::vector<char*> out;
      for (std::string& string : *strings) out.push_back(string.data());
      out.push_back(nullptr);
      return out;
    };
    if (posix_spawn(&pid_, options.concordd.c_str(), nullptr, nullptr, pointers(&arguments).data(),
                    pointers(&environment).data()) != 0)
      throw std::runtime_error("cannot start " + options.concordd);
  }
  ~Sidecar() { End(SIGKILL); }

  const std::string& address() const { return address_; }
  bool Alive() {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
  }
  void End(int signal) {
    if (pid_ <= 0) return;
    kill(pid_, signal);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  const std::string address_;
  pid_t pid_ = 0;
};

// A moment to crash at: after so many records. The first `recovery` ones are of its recovery.
size_t ChooseCut(const std::vector<Record>& records, size_t recovery, Random* random) {
  const size_t end = (*random)() % 3 == 0 ? recovery : records.size();
  size_t cut = (*random)() % (end + 1);
  if ((*random)() % 2 == 0) {
    // At a sync or a change of a name: there checkpoints, new segments and trims are made.
    const auto is_step = [](const Record& record) {
      return record.head.type == RECORDING_SYNC_BEGIN || record.head.type == RECORDING_SYNC_END ||
             record.head.type == RECORDING_RENAME || record.head.type == RECORDING_UNLINK;
    };
    while (cut < end && !is_step(records[cut])) cut++;
    cut = std::min(end, cut + (*random)() % 3);
  }
  return cut;
}

// What is wrong, or nothing. `*round`: the directory of the last round, for whoever looks.
std::string RunSeed(const Options& options, uint64_t seed, const std::string& work, Tally* tally, std::string* round) {
  Random random(seed);
  Load load(seed);
  uint64_t least = 0;
  *round = work + "/0";
  fs::create_directories(*round + "/dir");
  fs::permissions(*round + "/dir", fs::perms::owner_all);
  for (int i = 0; i < options.rounds; i++) {
    const std::string dir = *round + "/dir", before = *round + "/before", recording = *round + "/recording";
    fs::copy(dir, before, fs::copy_options::recursive);
    const int fd = open(recording.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) throw std::runtime_error("cannot make " + recording);
    std::string wrong;
    uint64_t recovery_bytes = 0;
    {
      Sidecar sidecar(options, *round, &random);
      wrong = load.Check(sidecar.address(), least, [&] { return sidecar.Alive(); });
      recovery_bytes = fs::file_size(recording);
      if (wrong.empty()) wrong = load.Run(sidecar.address(), random() % options.transactions_max, fd);
      if (wrong.empty() && !sidecar.Alive()) wrong = "concordd has ended under load";
      sidecar.End(random() % 4 == 0 ? SIGTERM : SIGKILL);
    }
    close(fd);
    if (ReadFile(*round + "/concordd.log").find("went back to its checkpoint") != std::string::npos) tally->went_back++;
    if (!wrong.empty()) return wrong;

    const std::string bytes = ReadFile(recording);
    const std::vector<Record> records = ParseRecording(bytes);
    size_t recovery = 0;
    for (uint64_t at = 0; recovery < records.size() && at < recovery_bytes; recovery++)
      at += records[recovery].head.size;
    const size_t cut = ChooseCut(records, recovery, &random);
    Disk disk(before, options.lies);
    least = load.found();
    for (size_t at = 0; at < cut; at++) {
      disk.Apply(records[at]);
      if (records[at].head.type == RECORDING_ACK) least = records[at].head.a;
    }
    tally->crashes++;
    tally->in_recovery += cut < recovery ? 1 : 0;
    tally->acknowledged += least - load.found();
    *round = work + "/" + std::to_string(i + 1);
    fs::create_directory(*round);
    disk.Crash(&random, *round + "/dir");
    // Of the rounds before, the last one is enough to understand what happened.
    if (i > 0) fs::remove_all(work + "/" + std::to_string(i - 1));
  }
  return {};
}

int RunSeeds(Options options) {
  if (options.seed == 0) options.seed = std::random_device()();
  Tally tally;
  for (int i = 0; i < options.seeds; i++) {
    const uint64_t seed = options.seed + static_cast<uint64_t>(i);
    const std::string work = fs::absolute(options.work).string() + "/" + std::to_string(seed);
    std::string round;
    const std::string wrong = RunSeed(options, seed, work, &tally, &round);
    if (!wrong.empty()) {
      printf("FAILED seed %llu: %s\nkept: %s\n%s", static_cast<unsigned long long>(seed), wrong.c_str(), round.c_str(),
             ReadFile(round + "/concordd.log").c_str());
      return 1;
    }
    fs::remove_all(work);
  }
  printf(
      "ok: %d seeds from %llu, %zu crashes, %zu of them in recovery, %zu acknowledged commits, went back to a "
      "checkpoint "
      "%zu times\n",
      options.seeds, static_cast<unsigned long long>(options.seed), tally.crashes, tally.in_recovery,
      tally.acknowledged, tally.went_back);
  return 0;
}

int MakeImage(const std::string& recording, const std::string& before, const std::string& directory, uint64_t seed) {
  const std::string bytes = ReadFile(recording);
  Disk disk(before);
  size_t records = 0;
  for (const Record& record : ParseRecording(bytes)) {
    disk.Apply(record);
    records++;
  }
  if (seed == 0) seed = std::random_device()();
  Random random(seed);
  disk.Crash(&random, directory);
  printf("%zu records, seed %llu\n", records, static_cast<unsigned long long>(seed));
  return 0;
}

int Run(int argc, char** argv) {
  Options options;
  std::string recording, before, directory;
  CLI::App app("Crashes of the operating system, for a concordd that runs under the recorder.", "os_crash");
  app.require_subcommand(1);
  app.add_option("--seed", options.seed, "the first one; 0: any");

  CLI::App* run = app.add_subcommand("run", "starts concordd again and again on what a disk may hold after a crash");
  run->add_option("--concordd", options.concordd, "the program")->required();
  run->add_option("--recorder", options.recorder, "the library that is preloaded into it")->required();
  run->add_option("--work", options.work, "a directory to work in")->required();
  run->add_option("--seeds", options.seeds, "how many, one after another")->capture_default_str();
  run->add_option("--rounds", options.rounds, "crashes for each seed")->capture_default_str();
  run->add_option("--lie-files", options.lies.files_below, "the disk ignores syncs of files below this (a self-test)");
  run->add_option("--lie-directories", options.lies.directories_below, "and of directories");

  CLI::App* image = app.add_subcommand("image", "makes what a disk may hold after a crash at the end of a recording");
  image->add_option("recording", recording)->required();
  image->add_option("before", before, "the directory as it was when the recording began")->required();
  image->add_option("directory", directory, "a new directory")->required();
  CLI11_PARSE(app, argc, argv);
  return image->parsed() ? MakeImage(recording, before, directory, options.seed) : RunSeeds(options);
}

}  // namespace
}  // namespace concord::crash

int main(int argc, char** argv) { return concord::crash::Run(argc, argv); }
