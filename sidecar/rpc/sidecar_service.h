// What a process of Concord says about itself. Thread-safe: nothing changes after it is made.
#pragma once

#include <string>

#include "proto/sidecar.grpc.pb.h"

namespace concord {

class SidecarService : public proto::Sidecar::Service {
 public:
  explicit SidecarService(proto::Info info) : info_(std::move(info)) {}

  grpc::Status GetInfo(grpc::ServerContext*, const proto::InfoRequest*, proto::Info* reply) override {
    *reply = info_;
    return grpc::Status::OK;
  }

 private:
  const proto::Info info_;
};

}  // namespace concord
