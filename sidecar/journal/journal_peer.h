// A journal node as another process reaches it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <utility>

#include "core/lsn.h"
#include "core/status.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/metastore/metastore.h"

namespace concord {

class TailLink;
namespace journal {
class JournalNode;
}

using JournalStub = proto::Journal::StubInterface;

struct JournalPeer {
  JournalPeer(std::shared_ptr<JournalStub> stub_, Member member_ = {},
              std::function<Status(grpc::ClientContext*)> meet_ = {})
      : stub(std::move(stub_)), member(std::move(member_)), meet(std::move(meet_)) {}

  std::shared_ptr<JournalStub> stub;
  Member member;                         // without an id where options name it
  journal::JournalNode* node = nullptr;  // if it is of this process
  // Before it is believed anything: Ok if it is of this cluster, and that member; kInvalid if not; after anything else
  // it is asked again. Empty: whatever answers is.
  std::function<Status(grpc::ClientContext*)> meet;
  // How its followers open their streams, where it is not over gRPC (simulation/). Empty: OpenRemoteTail.
  std::function<std::unique_ptr<TailLink>(Lsn after_lsn, int gather_ms)> open_tail;
};

}  // namespace concord
