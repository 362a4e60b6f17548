// One client: a thread with a connection of its own that runs random transactions and writes down what became of them.
#pragma once

#include <libpq-fe.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "history.h"

namespace torture {

inline constexpr int kAccounts = 20;
inline constexpr int64_t kBalance = 1000;
inline constexpr int kLists = 4;
inline constexpr int kClaims = 40;

struct ConnectionDeleter {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, ConnectionDeleter>;
struct ResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultDeleter>;

// Null if there is none to be had now.
Connection Connect(const std::string& conninfo);
inline Result Execute(PGconn* connection, const std::string& sql) { return Result(PQexec(connection, sql.c_str())); }
bool Succeeded(const Result& result);

class Client {
 public:
  Client(int number, std::string conninfo, uint64_t seed);

  void Start(int64_t first_list);
  void Stop() { stop_ = true; }
  // False if the thread does not end in time: something hangs.
  bool Join(int timeout_ms);
  // Asks the server to cancel what runs.
  void Cancel();
  // After Join: what was done since Start.
  std::vector<Op> TakeHistory() { return std::move(history_); }
  // Of the newest acknowledged transaction.
  int64_t acknowledged_sent_us() const { return acknowledged_sent_us_; }
  // When it connected last.
  int64_t connected_us() const { return connected_us_; }
  std::string current() const;

 private:
  void Run();
  bool EnsureConnected();
  void Disconnect();
  Op Next();
  // The statements of an operation; false if it is not to be committed.
  bool Work(const Op& op);
  bool WorkRemoval(const Op& op, const std::string& delete_sql);
  void Commit(Op* op);
  bool Step(const std::string& sql, long rows_expected);
  int64_t Random(int64_t below) { return std::uniform_int_distribution<int64_t>(0, below - 1)(random_); }

  const int number_;
  const std::string conninfo_;
  std::mt19937_64 random_;
  Connection connection_;
  std::string error_;
  std::string notices_;
  int64_t next_op_ = 1;
  int64_t first_list_ = 0;
  std::vector<Op> history_;
  std::vector<int64_t> mine_;  // rows of items that were acknowledged and not removed
  std::atomic<bool> stop_ = false;
  std::atomic<bool> done_ = true;
  std::atomic<int64_t> acknowledged_sent_us_ = 0;
  std::atomic<int64_t> connected_us_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  PGcancel* cancel_ = nullptr;
  std::string current_;
  std::thread thread_;
};

}  // namespace torture
