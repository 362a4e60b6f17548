// torture: crashes under load. Clients run transactions against a running server while its processes are killed with -9
// at random moments; after each round of kills what the clients were told is held against the journal and the tables
// (checker.h). See --help, docs/testing.md and scripts/torture.sh.
//
// Exit status 0 if nothing was wrong. A random choice comes from the seed, which is printed; the moments at which
// things meet are not repeated by it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "checker.h"
#include "client.h"
#include "journal_tail.h"
#include "recovery_log.h"
#include "server.h"

namespace torture {
namespace {

constexpr int kRestartMs = 60000;
constexpr int kCommitAgainMs = 60000;  // what takes longer is down
constexpr int kClientEndMs = 90000;    // what takes longer hangs
constexpr int64_t kNoticeUs = 30000;
constexpr int64_t kSlowUs = 2000000;

struct Options {
  ServerOptions server;
  std::string conninfo;
  std::string journal;
  int clients = 6;
  double minutes = 0;
  int kills = 10;
  int kills_per_round = 10;
  int64_t promised_ms = 0;
  uint64_t seed = 0;
};

struct Recovery {
  int64_t count = 0, total_us = 0, max_us = 0, own_us = 0, own_max_us = 0, slow = 0;
  void Add(int64_t us, int64_t own) {
    count++;
    total_us += us;
    max_us = std::max(max_us, us);
    own_us += own;
    own_max_us = std::max(own_max_us, own);
    if (own > kSlowUs) slow++;
  }
};

class Torture {
 public:
  explicit Torture(const Options& options)
      : options_(options), random_(options.seed), server_(options.server), log_(options.server.log) {
    for (int i = 1; i <= options.clients; i++)
      clients_.push_back(std::make_unique<Client>(
          i, options.conninfo + " application_name=torture_" + std::to_string(i), options.seed));
  }

  bool Run() {
    auto connection = ConnectAgain();
    if (connection == nullptr || !checker_.Prepare(connection.get())) return false;
    const Result lsn = Execute(connection.get(), "SELECT concord.current_lsn() - '0/0'");
    if (!Succeeded(lsn)) return false;
    journal_ = std::make_unique<JournalTail>(options_.journal, strtoull(PQgetvalue(lsn.get(), 0, 0), nullptr, 10));
    const int64_t end_us = NowUs() + static_cast<int64_t>(options_.minutes * 60e6);
    bool good = true;
    for (int round = 1; good && (kills_ < options_.kills || NowUs() < end_us); round++) {
      good = Round();
      printf("round %d: %d kills, %ld acknowledged, %ld refused, %ld unknown (%ld of them committed)%s\n", round,
             kills_, checker_.counts().acknowledged, checker_.counts().refused, checker_.counts().unknown,
             checker_.counts().unknown_committed, good ? "" : ": WRONG");
      fflush(stdout);
    }
    Report();
    return good && KeepsPromise();
  }

 private:
  int64_t Random(int64_t below) { return std::uniform_int_distribution<int64_t>(0, below - 1)(random_); }
  static void SleepMs(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

  Connection ConnectAgain() {
    for (const int64_t end = NowUs() + kRestartMs * 1000; NowUs() < end; SleepMs(50)) {
      if (!server_.Running() && !server_.Restart(kRestartMs)) break;
      auto connection = Connect(options_.conninfo);
      // Not only PostgreSQL is to be there.
      if (connection != nullptr && Succeeded(Execute(connection.get(), "SELECT concord.current_lsn()")))
        return connection;
    }
    fprintf(stderr, "WRONG: the server does not come back\n");
    return nullptr;
  }

  bool Round() {
    auto connection = ConnectAgain();
    bool ok = connection != nullptr;
    if (!ok) return false;
    const int64_t first_list = checker_.BeginRound(connection.get(), &ok);
    if (!ok) return false;
    connection.reset();
    for (const auto& client : clients_) client->Start(first_list);
    for (const int until = kills_ + options_.kills_per_round; ok && kills_ < until;) ok = KillOne();
    SleepMs(200);
    for (const auto& client : clients_) client->Stop();
    std::vector<Op> ops;
    for (const auto& client : clients_) {
      if (!client->Join(kClientEndMs)) {
        fprintf(stderr, "WRONG: a client hangs in: %s\n", client->current().c_str());
        _exit(1);  // its thread cannot be ended
      }
      for (Op& op : client->TakeHistory()) ops.push_back(std::move(op));
    }
    if (!ok) return false;
    connection = ConnectAgain();
    return connection != nullptr && checker_.Check(connection.get(), ops, journal_.get());
  }

  bool KillOne() {
    for (int64_t wait_ms = 50 + Random(1200); wait_ms > 0; wait_ms -= 50) {
      SleepMs(std::min<int64_t>(wait_ms, 50));
      if (Random(4) == 0) clients_[static_cast<size_t>(Random(options_.clients))]->Cancel();
    }
    // Each kind has its turn, in random order.
    if (victims_.empty()) {
      for (int i = 0; i < kVictims; i++) victims_.push_back(static_cast<Victim>(i));
      std::shuffle(victims_.begin(), victims_.end(), random_);
    }
    const Victim victim = victims_.back();
    if (!server_.Kill(victim, static_cast<unsigned>(Random(1000)))) {
      std::rotate(victims_.begin(), victims_.end() - 1, victims_.end());  // not there at the moment
      return true;
    }
    log_.Begin();
    const int64_t killed_us = NowUs();
    victims_.pop_back();
    kills_++;
    if (victim == Victim::kPostmaster || victim == Victim::kAll) {
      while (server_.Running()) SleepMs(5);
      if (!Restart(victim)) return false;
    }
    if (Random(10) < 3) return true;  // the next strikes while it recovers
    return AwaitCommit(victim, killed_us);
  }

  bool Restart(Victim victim) {
    if (server_.Restart(kRestartMs)) return true;
    fprintf(stderr, "WRONG: the server does not start after kill -9 of %s\n", VictimName(victim));
    return false;
  }

  bool AwaitCommit(Victim victim, int64_t killed_us) {
    // Until its death is noticed, others commit as if nothing had happened.
    const int64_t noticed_us = killed_us + kNoticeUs;
    int64_t connected_us = 0;  // again: from then on it is Concord that is waited for
    for (const int64_t end = killed_us + kCommitAgainMs * 1000; NowUs() < end; SleepMs(2)) {
      if (!server_.Running() && !Restart(victim)) return false;
      for (const auto& client : clients_) {
        if (connected_us == 0 && client->connected_us() > killed_us) connected_us = client->connected_us();
      }
      for (const auto& client : clients_) {
        if (client->acknowledged_sent_us() <= noticed_us) continue;
        const int64_t took_us = NowUs() - killed_us;
        own_us_.push_back(NowUs() - std::max(killed_us, connected_us));
        recoveries_[victim].Add(took_us, own_us_.back());
        // With the time of day, for whoever looks into the server's log for more.
        const time_t now = time(nullptr);
        char clock[16];
        strftime(clock, sizeof clock, "%H:%M:%S", gmtime(&now));
        printf("%s: kill -9 of %s, ms: %s, client connected %ld, committed %ld\n", clock, VictimName(victim),
               log_.Steps().c_str(), connected_us == 0 ? 0 : (connected_us - killed_us) / 1000, took_us / 1000);
        return true;
      }
    }
    fprintf(stderr, "WRONG: no commit within %d s after kill -9 of %s\n", kCommitAgainMs / 1000, VictimName(victim));
    return false;
  }

  // The median, because single recoveries have to wait for the machine.
  bool KeepsPromise() {
    if (own_us_.empty()) return true;
    const auto middle = own_us_.begin() + static_cast<int64_t>(own_us_.size() / 2);
    std::nth_element(own_us_.begin(), middle, own_us_.end());
    printf("of %zu recoveries the median after PostgreSQL accepted connections is %ld ms\n", own_us_.size(),
           *middle / 1000);
    if (options_.promised_ms == 0 || *middle <= options_.promised_ms * 1000) return true;
    fprintf(stderr, "WRONG: that is over %ld ms\n", options_.promised_ms);
    return false;
  }

  void Report() const {
    printf("kill -9 to the next commit; of that, after PostgreSQL accepted connections again:\n");
    for (const auto& [victim, recovery] : recoveries_)
      printf(
          "  %-12s %3ld times, average %4ld ms, longest %4ld ms; average %4ld ms, longest %4ld ms, %ld over %ld ms\n",
          VictimName(victim), recovery.count, recovery.total_us / recovery.count / 1000, recovery.max_us / 1000,
          recovery.own_us / recovery.count / 1000, recovery.own_max_us / 1000, recovery.slow, kSlowUs / 1000);
    printf("refusals:\n");
    for (const auto& [text, count] : checker_.counts().refusals) printf("  %6ld  %s\n", count, text.c_str());
  }

  const Options options_;
  std::mt19937_64 random_;
  Server server_;
  RecoveryLog log_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<JournalTail> journal_;
  Checker checker_;
  std::vector<Victim> victims_;
  std::map<Victim, Recovery> recoveries_;
  std::vector<int64_t> own_us_;  // of all recoveries: what Concord has added
  int kills_ = 0;
};

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
  torture::Options options;
  options.seed = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count() / 1000);
  CLI::App app("Kills a server's processes under load and checks what is left.", "torture");
  app.add_option("--data", options.server.data, "data directory of a running server with Concord")->required();
  app.add_option("--bin", options.server.bin, "directory of pg_ctl")->required();
  app.add_option("--log", options.server.log, "file for the server's log")->required();
  app.add_option("--conninfo", options.conninfo, "of a database with the extension, for a superuser")->required();
  app.add_option("--journal", options.journal, "address of the journal (default: the sidecar's socket in --data)");
  app.add_option("--clients", options.clients)->capture_default_str();
  app.add_option("--minutes", options.minutes, "go on for so long")->capture_default_str();
  app.add_option("--kills", options.kills, "and until there were so many kills")->capture_default_str();
  app.add_option("--kills-per-round", options.kills_per_round, "between two checks")->capture_default_str();
  app.add_option("--promised-ms", options.promised_ms,
                 "fail if the median of what Concord adds to a recovery is longer; 0: no time decides")
      ->capture_default_str()
      ->take_last();
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, argc, argv);
  if (options.journal.empty()) options.journal = "unix:" + options.server.data + "/concord/concordd.sock";
  printf("seed %lu\n", options.seed);
  fflush(stdout);
  return torture::Torture(options).Run() ? 0 : 1;
}
