// The LSN pages (core/lsn_page.h) of the query processors on this machine: mapped, written and vouched for while this
// process leads, withdrawn when it does not.
//
// Thread-safe. Invariants:
//  - A page carries a lease only between Lead and Withdraw, and Publish has stored an LSN before anybody is told of it.
//  - A lease is never longer than the caller says that this process leads for certain.
//  - A page is in the registry file before it gets its first lease, so the process that comes after a crash finds and
//    withdraws it before it commits anything: no reader trusts a dead leader's page.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/lsn_page.h"
#include "core/status.h"

namespace concord {

class LsnPages {
 public:
  static constexpr int64_t kLeaseUs = 3000000;
  static constexpr int kRenewMs = 500;
  static constexpr size_t kMaxPages = 64;
  static constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

  // `registry`: a file of this process's directory that remembers the paths. Empty: not remembered (tests).
  explicit LsnPages(std::string registry);
  ~LsnPages();  // withdraws

  // Withdraws the pages that an earlier process left behind. Once, before the first Lead.
  Status WithdrawLeftBehind();

  // Maps a page. kNotFound if the path cannot be reached, kInvalid if the file is not a page of this user's.
  Status Offer(const std::string& path);

  // `until_us`: of BoottimeUs; how long nobody else can lead. Leases end then, or after kLeaseUs.
  void Lead(uint64_t epoch, Lsn committed, int64_t until_us = kForever);
  void Publish(Lsn committed);  // nothing after Withdraw
  // Extends the leases; to be called every kRenewMs, or as often as `until_us` grows. Forgets pages whose files are
  // gone.
  void Renew(int64_t until_us = kForever);
  void Withdraw();

 private:
  struct Mapping;
  void Vouch(const Mapping& mapping);  // these need mutex_
  int64_t LeaseUntilUs() const { return std::min(BoottimeUs() + kLeaseUs, until_us_); }
  Status Remember(const std::string& added);

  const std::string registry_;
  std::mutex mutex_;
  bool leading_ = false;  // this and everything below: guarded by mutex_
  uint64_t epoch_ = 0;
  Lsn committed_ = kNoLsn;
  int64_t until_us_ = kForever;
  std::map<std::string, std::unique_ptr<Mapping>> pages_;  // by path
};

}  // namespace concord
