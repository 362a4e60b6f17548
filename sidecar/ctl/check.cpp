#include "sidecar/ctl/check.h"

#include "sidecar/ctl/directory.h"

namespace concord::ctl {
namespace {

// All pages and contents of the replica as it is; and the pages of its checkpoint where that is another state.
Status CheckStorage(const std::string& data, const StoppedDirectory& found, Report* report) {
  ReplicaCheckOptions options;
  options.next_record_lsn = found.next_lsn_after_applied;
  if (found.goes_back) options.meta_pages = found.saved.pages;
  ReplicaContents contents;
  Status status = CheckReplica(data, options, &contents);
  if (!status.ok()) return status;
  for (const std::string& problem : contents.problems) report->Problem(problem);
  Fields& fields = report->Section("storage");
  fields.emplace_back("versions", contents.versions);
  fields.emplace_back("rows", contents.rows);
  fields.emplace_back("entries", contents.entries);
  fields.emplace_back("staged_chunks", contents.staged);
  fields.emplace_back("used_pages", contents.pages.used_pages);
  fields.emplace_back("free_pages", contents.pages.free_pages);
  if (contents.pages.lost_pages != 0)
    report->Note(data + ": " + std::to_string(contents.pages.lost_pages) +
                 " pages are neither used nor free; that costs space only");
  if (!found.saved_status.ok() || found.goes_back) return Status::Ok();

  ReplicaContents checkpoint;
  options = {};
  options.meta_pages = found.saved.pages;
  options.contents = false;
  status = CheckReplica(data, options, &checkpoint);
  if (!status.ok()) return status;
  for (const std::string& problem : checkpoint.problems) report->Problem("the checkpoint's state: " + problem);
  if (checkpoint.problems.empty() && checkpoint.replay_from() != found.saved.lsn)
    report->Problem(data + ": the checkpoint's state has applied " + LsnText(checkpoint.applied) +
                    ", meta.saved says " + LsnText(found.saved.lsn));
  return Status::Ok();
}

}  // namespace

ExitCode Check(const std::string& directory, Report* report) {
  Quiet quiet;
  std::string pid, address;
  Status status = quiet.Hold(directory, &pid, &address);
  if (status.code() == Code::kUnavailable) {
    report->set_state("in use");
    report->Problem(status.message() + "; stop it first");
    return kExitOther;
  }
  StoppedDirectory found;
  if (status.ok()) status = Look(directory, {.contents = true}, &found, report);
  if (status.ok() && found.has_storage) status = CheckStorage(directory + "/storage/data.mdb", found, report);
  if (!status.ok()) {
    report->set_state("cannot be checked");
    report->Problem(status.message());
    return kExitUnreadable;
  }
  report->set_state(report->problems().empty() ? "all is well" : "damaged");
  return report->problems().empty() ? kExitOk : kExitProblem;
}

}  // namespace concord::ctl
