#include "sidecar/ctl/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/frame.h"
#include "sidecar/journal/journal_node.h"
#include "sidecar/metastore/file_metastore.h"
#include "sidecar/metastore/identity.h"

namespace concord::ctl {
namespace {

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// A problem is told in the report; what makes any further look useless is returned.
Status Sort(const Status& status, Report* report) {
  if (status.ok()) return status;
  if (status.code() == Code::kInvalid || status.code() == Code::kIoError) return status;
  report->Problem(status.message());
  return Status::Ok();
}

// How far a truncation that is under way lets the journal be read: the cut is made again at the next start.
bool IsCutOff(const journal::SavedState& state, uint64_t sequence, uint64_t offset) {
  return state.cut_sequence != 0 &&
         (sequence > state.cut_sequence || (sequence == state.cut_sequence && offset >= state.group_offset));
}

Status LookAtJournal(const std::string& directory, StoppedDirectory* found, Report* report) {
  found->has_journal = Exists(directory);
  if (!found->has_journal) {
    report->Note(directory + " is not there: no role journal has run here");
    return Status::Ok();
  }
  journal::SavedState state;
  Status status = Sort(journal::LoadSavedState(directory, &state), report);
  std::vector<uint64_t> sequences;
  std::vector<std::string> leftovers;
  journal::LeaseTable leases;
  if (status.ok()) {
    status = journal::LoadLeases(directory, &leases);
    status = status.code() == Code::kNotFound ? Status::Ok() : Sort(status, report);
  }
  if (status.ok()) status = journal::ListSegments(directory, &sequences, &leftovers);
  if (!status.ok()) return status;

  journal::SegmentScanner scanner;
  const Lsn applied = found->replica.applied;
  bool before = true;
  uint64_t bytes = 0, used = 0;
  Status& damage = found->journal_status;
  for (const uint64_t sequence : sequences) {
    if (IsCutOff(state, sequence, 0)) break;
    journal::SegmentHeader header{};
    const std::string path = directory + "/" + journal::SegmentName(sequence);
    damage = scanner.Next(path, sequence, &header, [&](const journal::ScannedGroup& group) {
      if (IsCutOff(state, sequence, group.offset)) return;
      used += group.size;
      if (group.prev_lsn == applied && group.first_lsn != kNoLsn) found->applied_is_record = true;
      for (size_t at = 0; before && at < group.frames.size();) {
        Frame frame;
        size_t size = 0;
        if (!ParseFrame(group.frames.substr(at), &frame, &size).ok()) break;
        if (frame.lsn == applied) found->applied_is_record = true;
        if (frame.lsn > applied) {
          found->next_lsn_after_applied = frame.lsn;
          before = false;
        }
        at += size;
      }
    });
    if (!damage.ok()) break;
    bytes += header.size;
  }
  if (damage.ok()) damage = scanner.Finish();
  if (state.cut_sequence != 0) {
    // What lies behind the cut may be in any state.
    report->Note(directory + ": a truncation was under way; the next start completes it");
    if (damage.code() == Code::kCorruption) damage = Status::Ok();
  }
  status = Sort(damage, report);
  if (!status.ok()) return status;
  found->journal = scanner.state();
  if (sequences.empty()) report->Problem(directory + " has no segments");
  if (applied == found->journal.last_lsn || applied == found->journal.base_lsn) found->applied_is_record = true;

  Fields& fields = report->Section("journal");
  fields.emplace_back("base_lsn", LsnText(found->journal.base_lsn));
  fields.emplace_back("last_lsn", LsnText(found->journal.last_lsn));
  fields.emplace_back("last_time", LsnTime(found->journal.last_lsn));
  fields.emplace_back("committed_lsn", LsnText(found->journal.committed_lsn));
  fields.emplace_back("last_epoch", found->journal.last_epoch);
  fields.emplace_back("sealed_epoch", std::max(state.sealed_epoch, found->journal.last_epoch));
  fields.emplace_back("records", found->journal.frames);
  fields.emplace_back("segments", uint64_t{sequences.size()});
  fields.emplace_back("bytes", bytes);
  fields.emplace_back("used_bytes", used);
  if (found->journal.torn)
    report->Note(directory + " ends in a write that a crash cut short, as is normal: nothing of it was acknowledged");
  return Status::Ok();
}

// What meta.saved says about the next start; see RecoverDirectory.
Status LookAtCheckpoint(const std::string& directory, StoppedDirectory* found, Report* report) {
  found->saved_status = LoadMeta(directory, &found->saved);
  if (!found->saved_status.ok()) {
    if (found->saved_status.code() == Code::kNotFound) {
      report->Problem(directory + "/" + kSavedMetaFile + " is missing");
      return Status::Ok();
    }
    return Sort(found->saved_status, report);
  }
  const bool sync_failed = Exists(directory + "/" + kRestoreFile);
  FileIdentity identity;
  std::string boot_id;
  Status status = ReadIdentity(directory + "/data.mdb", &identity);
  if (status.ok()) status = ReadBootId(&boot_id);
  if (!status.ok()) return status;
  const SavedMeta& saved = found->saved;
  if (!saved.clean && !sync_failed && !identity.SameFile(saved.data))
    report->Problem(directory +
                    "/data.mdb is a copy that was not taken of a stopped server, so it may hold a mixture of states");
  found->goes_back =
      sync_failed || (!saved.clean && (saved.boot_id != boot_id || saved.data.device != identity.device));
  if (found->goes_back)
    report->Note(
        std::string(sync_failed ? "a sync of the replica failed" : "the machine restarted while concordd ran") +
        "; at the next start the replica goes back to its checkpoint, and the journal replays the rest");
  else if (!saved.clean)
    report->Note("concordd was not stopped in order; the next start goes on where it was");
  return Status::Ok();
}

Status LookAtStorage(const std::string& directory, const LookOptions& options, StoppedDirectory* found,
                     Report* report) {
  const std::string data = directory + "/data.mdb";
  found->has_storage = Exists(data) || Exists(directory + "/" + kSavedMetaFile);
  if (!found->has_storage || Exists(directory + "/" + kCreatingFile)) {
    found->has_storage = false;
    report->Note(directory + " holds no replica yet; the next start makes it from the journal");
    return Status::Ok();
  }
  if (!Exists(data)) {
    report->Problem(data + " is missing");
    found->has_storage = false;
    return Status::Ok();
  }
  Status status = LookAtCheckpoint(directory, found, report);
  if (!status.ok()) return status;
  const bool has_saved = found->saved_status.ok();
  ReplicaCheckOptions look;
  look.contents = false;
  if (found->goes_back) look.meta_pages = found->saved.pages;
  status = CheckReplica(data, look, &found->replica);
  if (!status.ok()) return status;
  const ReplicaContents& replica = found->replica;
  if (!replica.unsupported.ok()) return replica.unsupported;
  if (!options.contents) {
    for (const std::string& problem : replica.problems) report->Problem(problem);
  }
  Fields& fields = report->Section("storage");
  fields.emplace_back("applied_lsn", LsnText(replica.applied));
  fields.emplace_back("applied_time", LsnTime(replica.applied));
  fields.emplace_back("checkpoint_lsn", LsnText(has_saved ? found->saved.lsn : kNoLsn));
  fields.emplace_back("horizon_lsn", LsnText(replica.horizon));
  fields.emplace_back("epoch", replica.epoch);
  fields.emplace_back("clean", has_saved && found->saved.clean);
  fields.emplace_back("storages", replica.storages);
  fields.emplace_back("dropping", replica.dropping);
  fields.emplace_back("file_bytes", replica.pages.file_bytes);
  return Status::Ok();
}

// What one part says against another.
void Compare(const std::string& directory, const StoppedDirectory& found, Report* report) {
  const Lsn applied = found.replica.applied;
  if (!found.has_journal || !found.has_storage || !found.journal_status.ok() || !found.replica.problems.empty()) return;
  const journal::SegmentScanner::State& journal = found.journal;
  if (found.replica.replay_from() < journal.base_lsn)
    report->Problem("the replica goes on after " + LsnText(found.replica.replay_from()) +
                    ", and the journal has trimmed what follows: it begins after " + LsnText(journal.base_lsn));
  else if (applied > journal.last_lsn)
    report->Problem(directory + "/journal ends at " + LsnText(journal.last_lsn) +
                    ", before what the replica has applied, " + LsnText(applied) + ": its end is damaged or missing");
  else if (!found.applied_is_record)
    report->Problem("the replica has applied " + LsnText(applied) + ", which is no record of the journal");
  if (journal.last_epoch > found.epoch && found.epoch != 0)
    report->Problem(directory + "/metastore knows epoch " + std::to_string(found.epoch) +
                    ", the journal has records of " + std::to_string(journal.last_epoch));
}

}  // namespace

Quiet::~Quiet() {
  if (fd_ >= 0) close(fd_);
}

Status Quiet::Hold(const std::string& directory, std::string* pid, std::string* address) {
  const std::string path = directory + "/lock";
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) return {errno == ENOENT ? Code::kNotFound : Code::kIoError, path + ": " + strerror(errno)};
  if (flock(fd_, LOCK_SH | LOCK_NB) == 0) return Status::Ok();
  if (errno != EWOULDBLOCK) return {Code::kIoError, path + ": " + strerror(errno)};
  char text[512] = {};
  const ssize_t got = pread(fd_, text, sizeof text - 1, 0);
  const std::string content(text, got > 0 ? static_cast<size_t>(got) : 0);
  const size_t line = content.find('\n');
  *pid = content.substr(0, line);
  if (line != std::string::npos) *address = content.substr(line + 1, content.find('\n', line + 1) - line - 1);
  return {Code::kUnavailable,
          "a concordd (pid " + (pid->empty() ? std::string("unknown") : *pid) + ") uses " + directory};
}

Status Look(const std::string& directory, const LookOptions& options, StoppedDirectory* found, Report* report) {
  Status status = ReadClusterId(directory, &found->cluster_id);
  if (status.code() == Code::kNotFound)
    report->Problem(directory + "/" + kIdentityFile + " is missing");
  else if (status = Sort(status, report); !status.ok())
    return status;
  status = Sort(ReadMetastoreFile(directory + "/metastore", &found->epoch), report);
  if (!status.ok()) return status;
  Fields& fields = report->Section("cluster");
  fields.emplace_back("id", found->cluster_id);
  fields.emplace_back("format", uint64_t{kDirectoryFormat});
  fields.emplace_back("epoch", found->epoch);

  // The replica first: the journal is looked through for its applied LSN.
  status = LookAtStorage(directory + "/storage", options, found, report);
  if (status.ok()) status = LookAtJournal(directory + "/journal", found, report);
  if (status.ok()) Compare(directory, *found, report);
  return status;
}

}  // namespace concord::ctl
