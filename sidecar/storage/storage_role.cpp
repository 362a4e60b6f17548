#include "sidecar/storage/storage_role.h"

#include <chrono>
#include <utility>

#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"

namespace concord {

Status StorageRole::Open(StorageRoleOptions options, std::unique_ptr<StorageRole>* role) {
  if (Status s = RemoveSnapshot(options.replica.directory); !s.ok()) return s;
  std::unique_ptr<Replica> replica;
  if (Status s = Replica::Open(options.replica, &replica); !s.ok()) return s;
  role->reset(new StorageRole(std::move(replica), std::move(options)));
  return Status::Ok();
}

StorageRole::StorageRole(std::unique_ptr<Replica> replica, StorageRoleOptions options)
    : options_(std::move(options)),
      replica_(std::move(replica)),
      service_(
          replica_, options_.applier.replica_id, [this](proto::StorageStatus* status) { AddStatus(status); },
          options_.snapshot) {
  MakeApplier();
}

void StorageRole::MakeApplier() {
  ApplierOptions options = options_.applier;
  if (options_.peers) {
    options.on_fallen = [this] {
      const std::lock_guard lock(mutex_);
      fallen_ = true;
      changed_.notify_all();
    };
  }
  auto applier = std::make_shared<Applier>(replica_.get().get(), std::move(options));
  const std::lock_guard lock(mutex_);
  applier_ = std::move(applier);
}

std::shared_ptr<Applier> StorageRole::applier() const {
  const std::lock_guard lock(mutex_);
  return applier_;
}

void StorageRole::Start(const std::vector<JournalPeer>& journals, journal::JournalNode* local) {
  journals_ = journals;
  local_ = local;
  applier()->Start(journals_, local_);
  if (options_.peers) keeper_ = std::thread([this] { Keep(); });
}

void StorageRole::StopFollowing() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  copying_.Cancel();
  if (keeper_.joinable()) keeper_.join();
  replica_->StopWaiting();
  applier()->Stop();
}

Status StorageRole::Stop() {
  StopFollowing();
  return replica_->Close();
}

bool StorageRole::Pause(int ms) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stopping_; });
}

void StorageRole::Keep() {
  std::string told;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || fallen_; });
      if (stopping_) return;
      fallen_ = false;
    }
    while (applier()->fallen()) {
      Status status = CopyFromAny();
      if (status.ok() && applier()->fallen()) {
        status = Replace();
        if (!status.ok()) {
          // Between the two: what there is can neither be brought on nor be trusted to be what it was.
          RoleLog("storage")->critical("storage replica {} could not be replaced by its copy: {}",
                                       options_.replica.directory, status.ToString());
          if (options_.applier.on_failure) options_.applier.on_failure(status);
          return;
        }
        told.clear();
        break;
      }
      applier()->Release();
      if (status.ok()) {
        (void)RemoveSnapshot(options_.replica.directory);  // the journal has helped after all
        break;
      }
      if (status.code() != Code::kShutdown) TellCopying(status.message());
      if (status.message() != told && status.code() != Code::kShutdown) {
        told = status.message();
        RoleLog("storage")->error("storage replica {} cannot be brought on yet, and tries again: {}",
                                  options_.replica.directory, told);
      }
      if (!Pause(options_.copy_retry_ms)) return;
    }
    TellCopying("");
  }
}

// Leaves a complete copy beside the replica.
Status StorageRole::CopyFromAny() {
  std::vector<StoragePeer> peers;
  if (Status s = options_.peers(&peers); !s.ok()) return s;
  std::string causes;
  Lsn from = kNoLsn;
  CopyOptions options;
  options.directory = options_.replica.directory;
  options.stall_ms = options_.copy_stall_ms;
  options.on_head = [this, &from](Lsn lsn) -> Status {
    if (lsn < replica_->applied())
      return {Code::kUnavailable, "its checkpoint " + LsnText(lsn) + " is older than what is here"};
    if (!applier()->Hold(lsn))
      return {Code::kUnavailable, "the journal has trimmed what follows its checkpoint " + LsnText(lsn)};
    from = lsn;
    return Status::Ok();
  };
  for (const StoragePeer& peer : peers) {
    if (copying_.cancelled()) return {Code::kShutdown, "ending"};
    TellCopying(peer.member.address);
    const auto begun = std::chrono::steady_clock::now();
    const Status status = CopySnapshot(peer, options, &copying_, &progress_);
    if (status.ok()) {
      const auto took = std::chrono::steady_clock::now() - begun;
      RoleLog("storage")->info("storage replica {} has copied the one at {} lsn={} bytes={} ms={}", options.directory,
                               peer.member.address, LsnText(from), progress_.bytes.load(),
                               std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
      return status;
    }
    causes += (causes.empty() ? "" : "; ") + peer.member.address + ": " + status.message();
  }
  if (copying_.cancelled()) return {Code::kShutdown, "ending"};
  if (peers.empty()) causes = "there is no other replica that it could copy";
  return {Code::kUnavailable, causes};
}

Status StorageRole::Replace() {
  {
    const auto old = replica_.get();
    applier()->Stop();
    // Its readers may go on; whoever waits for it is sent away, and asks the new one.
    if (const Status s = old->Close(); !s.ok())
      RoleLog("storage")->warn("storage replica {} was not closed in order, and is thrown away: {}",
                               options_.replica.directory, s.ToString());
  }
  if (Status s = InstallSnapshot(options_.replica.directory); !s.ok()) return s;
  std::unique_ptr<Replica> copy;
  if (Status s = Replica::Open(options_.replica, &copy); !s.ok()) return s;
  const Lsn applied = copy->applied();
  replica_.Set(std::move(copy));
  MakeApplier();
  RoleLog("storage")->info("storage replica {} goes on as a copy of another one, from LSN {}",
                           options_.replica.directory, LsnText(applied));
  applier()->Start(journals_, local_);
  return Status::Ok();
}

void StorageRole::TellCopying(const std::string& text) {
  const std::lock_guard lock(mutex_);
  copies_from_ = text;
}

void StorageRole::AddStatus(proto::StorageStatus* status) const {
  const auto applier = this->applier();
  status->set_fallen(applier->fallen());
  status->set_removed(applier->removed());
  const std::lock_guard lock(mutex_);
  if (!applier->fallen()) return;
  status->set_copies_from(copies_from_);
  status->set_copied_bytes(progress_.copied);
  status->set_copy_bytes(progress_.bytes);
}

}  // namespace concord
