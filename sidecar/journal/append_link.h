// One leader's stream of appends to one journal node, over gRPC or straight to a node of this process.
//
// Both speak the messages of Journal.Append and keep its rules. The local link exists because a message to oneself is
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
  // False if the link is broken; Finish tells why. `*synced` is set to what the node is known to have synced by now, if
  // that is known without Read.
  virtual bool Write(proto::AppendRequest request, Lsn* synced) = 0;
  // The next acknowledgement that Write has not told; false when there will be none.
  virtual bool Read(proto::AppendReply* reply) = 0;
  virtual void WritesDone() = 0;
  // After Read returned false.
  virtual Status Finish() = 0;
  virtual void Cancel() = 0;
};

std::unique_ptr<AppendLink> OpenRemoteAppend(std::shared_ptr<proto::Journal::StubInterface> stub);
// The node must outlive the link. Write itself syncs and acknowledges; Read only waits for the end.
std::unique_ptr<AppendLink> OpenLocalAppend(journal::JournalNode* node);

}  // namespace concord
