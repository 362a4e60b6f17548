// One leader's stream of appends to one journal node, over gRPC or straight to a node of this process.
//
// All speak the messages of Journal.Append and keep its rules. The local ones exist because a message to oneself is
// dear: gRPC's in-process transport took about eight futex calls and two wake-ups for each group of commits
// (docs/architecture.md, "Roles in one process").
//
// Thread safety: Write by one thread at a time, Read by another; Cancel by any.
#pragma once

#include <memory>

#include "core/status.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/journal/journal_node.h"

namespace concord {

class AppendLink {
 public:
  virtual ~AppendLink() = default;
  // False if the link is broken; Finish tells why. `*reply` has what is known of the node's answer without Read.
  virtual bool Write(proto::AppendRequest request, proto::AppendReply* reply) = 0;
  // The next acknowledgement that Write has not told; false when there will be none.
  virtual bool Read(proto::AppendReply* reply) = 0;
  virtual void WritesDone() = 0;
  // After Read returned false.
  virtual Status Finish() = 0;
  virtual void Cancel() = 0;
};

std::unique_ptr<AppendLink> OpenRemoteAppend(std::shared_ptr<proto::Journal::StubInterface> stub);
// To a node of this process, which must outlive the link. kInWrite: Write itself syncs and acknowledges, and Read only
// waits for the end; best where there is no other node to write to. kInRead: Write does not wait for the disk, unless
// the node's queue of frames is full. Read syncs what was submitted also once the link has ended, and returns only when
// the disk has answered.
enum class LocalSync { kInWrite, kInRead };
std::unique_ptr<AppendLink> OpenLocalAppend(journal::JournalNode* node, LocalSync sync);

}  // namespace concord
