#include <chrono>
#include <cstdio>
#include <thread>

#include "proto/adjudicator.grpc.pb.h"
#include "sidecar/ctl/cluster.h"
#include "sidecar/ctl/report.h"
#include "sidecar/rpc/server.h"
#include "sidecar/rpc/status.h"

namespace concord::ctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kHandOverTime = std::chrono::seconds(3);
constexpr auto kAskTime = std::chrono::milliseconds(200);
constexpr auto kWaitMax = std::chrono::seconds(10);
constexpr auto kPause = std::chrono::milliseconds(10);

Status HandOver(const Leader& leader) {
  const auto stub = proto::Adjudicator::NewStub(Connect(leader.address));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kHandOverTime);
  proto::HandOverReply reply;
  const Status status = FromGrpc(stub->HandOver(&context, {}, &reply));
  if (status.ok()) return status;
  return {Code::kConflict, "the adjudicator at " + leader.address + " does not hand over: " + status.message()};
}

bool Leads(const std::string& address) {
  const auto stub = proto::Adjudicator::NewStub(Connect(address));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAskTime);
  proto::ReadLsnReply reply;
  return stub->ReadLsn(&context, {}, &reply).ok();
}

Status AwaitLeader(Metastore* store, uint64_t above, Leader* leader) {
  for (const auto end = Clock::now() + kWaitMax; Clock::now() < end;) {
    if (store->ReadLeader(leader).ok() && leader->epoch > above && Leads(leader->address)) return Status::Ok();
    std::this_thread::sleep_for(kPause);
  }
  return {Code::kConflict, "the lead was handed over, and nobody has taken it within 10 s"};
}

}  // namespace

ExitCode TransferLead(const MetastoreOptions& where, const std::string& cluster_id, bool json) {
  std::unique_ptr<Metastore> store;
  Leader before, after;
  Status status = OpenCluster(where, cluster_id, &store);
  if (status.ok()) status = store->ReadLeader(&before);
  if (status.ok() && before.epoch == 0) status = {Code::kNotFound, "nobody has led cluster " + cluster_id + " yet"};
  const auto begun = Clock::now();
  if (status.ok()) status = HandOver(before);
  if (status.ok()) status = AwaitLeader(store.get(), before.epoch, &after);
  if (!status.ok()) return Failed(status);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();

  Report report(cluster_id, "the lead was transferred", "cluster");
  Fields& fields = report.Section("transfer");
  fields.emplace_back("from", before.address);
  fields.emplace_back("to", after.address);
  fields.emplace_back("epoch", after.epoch);
  fields.emplace_back("took_ms", static_cast<uint64_t>(took));
  if (after.id == before.id) report.Problem("no standby has taken the lead, so the same adjudicator leads again");
  fputs((json ? report.Json() : report.Text()).c_str(), stdout);
  return report.problems().empty() ? kExitOk : kExitProblem;
}

}  // namespace concord::ctl
