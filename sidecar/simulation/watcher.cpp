#include "sidecar/simulation/watcher.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "sidecar/lsn_text.h"
#include "sidecar/simulation/disk.h"

namespace concord::simulation {
namespace {

constexpr int64_t kPauseMax = 20 * kMs;
constexpr int64_t kOfferEvery = 100 * kMs;  // while nobody vouches by the page, as the gateway does

std::chrono::system_clock::time_point Deadline() {
  return std::chrono::system_clock::now() + std::chrono::milliseconds(300);
}

}  // namespace

void Watcher::Compare(int adjudicator, Lsn told, Lsn newest_acknowledged, const char* how) {
  if (told < newest_acknowledged)
    history_->Violation(scheduler->node(adjudicator).name + " vouches " + how + " for " + LsnText(told) +
                        " as the newest commit, and " + LsnText(newest_acknowledged) + " was acknowledged before");
  history_->newest_vouched = std::max(history_->newest_vouched, told);
}

void Watcher::Ask(const bool* stop) {
  const auto& adjudicators = cluster_->adjudicators();
  while (!*stop) {
    const Lsn newest_acknowledged = history_->newest_acknowledged;
    const int adjudicator = adjudicators[scheduler->Below(adjudicators.size())];
    grpc::ClientContext context;
    context.set_deadline(Deadline());
    proto::ReadLsnReply reply;
    if (CallUnary(&context, adjudicator, "Adjudicator.ReadLsn", proto::ReadLsnRequest(), &reply).ok())
      Compare(adjudicator, reply.committed_lsn(), newest_acknowledged, "by ReadLsn");
    scheduler->Sleep(static_cast<int64_t>(scheduler->Below(kPauseMax)));
  }
}

void Watcher::ReadPage(int adjudicator, const bool* stop) {
  scheduler->node(scheduler->current_node()).drift_ppm = scheduler->node(adjudicator).drift_ppm;
  const std::string path = disk->MakeShared("page" + std::to_string(adjudicator), kLsnPageSize);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto* const page = static_cast<const LsnPage*>(mmap(nullptr, kLsnPageSize, PROT_READ, MAP_SHARED, fd, 0));
  close(fd);
  if (page == MAP_FAILED) return history_->Violation("a page cannot be mapped");
  for (int64_t offered = 0; !*stop;) {
    // Before the look, as a transaction that begins then.
    const Lsn newest_acknowledged = history_->newest_acknowledged;
    const Lsn told = ReadCommitted(*page);
    if (told != kNoLsn) {
      Compare(adjudicator, told, newest_acknowledged, "by its page");
    } else if (scheduler->now() - offered > kOfferEvery) {
      offered = scheduler->now();
      Offer(adjudicator, path);
    }
    scheduler->Sleep(static_cast<int64_t>(scheduler->Below(kPauseMax)));
  }
}

void Watcher::Offer(int adjudicator, const std::string& path) {
  grpc::ClientContext context;
  context.set_deadline(Deadline());
  proto::OfferPageRequest request;
  request.set_path(path);
  proto::OfferPageReply reply;
  (void)CallUnary(&context, adjudicator, "Adjudicator.OfferPage", request, &reply);
}

}  // namespace concord::simulation
