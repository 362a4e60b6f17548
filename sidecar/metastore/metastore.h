// Where epochs, leadership and the journal's membership are decided. Two implementations: a file, for one machine
// (FileMetastore), and etcd, for many (EtcdMetastore). Thread-safe.
//
// Every call is bounded: by the disk, or by a deadline for each etcd endpoint. What cannot be reached is kUnavailable,
// what is stored and makes no sense kCorruption, what is refused for good (a wrong password) kInvalid.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"

namespace concord {

// Who leads, or is about to, or was the last to: it says nothing of whether it lives.
struct Leader {
  uint64_t epoch = 0;  // the newest; 0: there never was one
  std::string id;      // of the node (identity.h)
  std::string address;
};

struct Member {  // a journal node, or a storage replica
  std::string id;
  std::string address;
  bool operator==(const Member&) const = default;
};

struct Membership {
  uint64_t version = 0;  // the first is 1
  std::vector<Member> journal;
  uint32_t write_quorum = 0;
  std::vector<Member> storage = {};  // the replicas that are meant to be there
};

// A process that has said lately that it is there.
struct LiveProcess {
  std::string id;  // of the node
  std::string address;
  std::vector<std::string> roles;
  std::string version;
};

class Metastore {
 public:
  virtual ~Metastore() = default;

  // The leader of the newest epoch. The file knows the epoch only: what leads there is the one process that has it
  // open.
  virtual Status ReadLeader(Leader* leader) = 0;

  // Makes `self` (its id and address) the leader of a new epoch: above every epoch ever returned and above `above`
  // (what a journal node is sealed at, if it knows more than this store). `seen` is the epoch that the caller has read
  // as the newest; kConflict if it is not any more, as somebody else was faster. Durable before it returns; no epoch is
  // ever returned twice. An answer that was lost leaves an epoch that nobody has: then `self` may be read as the leader
  // of it, and who wants to lead goes on from there.
  virtual Status AcquireLeadership(const Leader& self, uint64_t seen, uint64_t above, uint64_t* epoch) = 0;

  // kNotFound if there is none. The file has none ever: on one machine the ensemble is what concordd's options say.
  virtual Status ReadMembership(Membership* membership) = 0;

  // Replaces the membership whose version is one below that of `membership`, or makes the first; kConflict if there is
  // another version, or an epoch newer than `epoch`, which the caller leads: who leads in that may have read the one
  // before. (An epoch of 0 is that of nobody, for the first membership.) After an answer that was lost it is kConflict
  // too: read, to see whose it is. kInvalid in the file, see above, and for an ensemble that cannot be one.
  virtual Status WriteMembership(const Membership& membership, uint64_t epoch) = 0;

  // Says that a process is there, for so long. The file has no need of it: there is one process.
  virtual Status ReportProcess(const LiveProcess&, int /*seconds*/) { return Status::Ok(); }
  // Those whose time is not over, by id.
  virtual Status ListProcesses(std::vector<LiveProcess>* processes) {
    processes->clear();
    return Status::Ok();
  }

  // Ends the calls under way and those to come with kShutdown, as the process is ending.
  virtual void Cancel() = 0;
};

// What AcquireLeadership says to who has not seen the newest epoch.
Status NotNewest(uint64_t seen, uint64_t newest);

}  // namespace concord
