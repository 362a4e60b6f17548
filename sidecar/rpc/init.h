// gRPC, for the whole life of a process.
#pragma once

namespace concord {

// Before any other use of it. Never undone: when its last channel goes, gRPC joins a thread that may sleep in a poll
// for ten seconds.
void InitRpc();

}  // namespace concord
