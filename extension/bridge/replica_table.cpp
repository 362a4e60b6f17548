#include "bridge/replica_table.h"

#include "bridge/channel_layout.h"
#include "bridge/view.h"

using namespace concord;

int cc_channel_replicas(CcChannel* channel) { return static_cast<int>(channel->replicas.count.load()); }

void cc_channel_replica(CcChannel* channel, int index, CcReplicaInfo* info) {
  const SharedReplica& replica = channel->replicas.replicas[index];
  *info = {};
  replica.address.Get(info->address, sizeof info->address);
  replica.id.Get(info->id, sizeof info->id);
  replica.trouble.Get(info->trouble, sizeof info->trouble);
  info->applied = replica.applied.load();
  info->horizon = replica.horizon.load();
  info->latency_us = replica.latency_us.load();
  const int64_t heard_ms = replica.heard_ms.load();
  info->heard_age_ms = heard_ms == 0 ? -1 : concord::bridge::NowMs() - heard_ms;
  info->state = static_cast<CcReplicaState>(replica.state.load());
  info->is_local = replica.is_local.load() != 0;
}

uint32_t cc_channel_local_version(CcChannel* channel) {
  return channel->replicas.local_version.load(std::memory_order_acquire);
}

CcLocalReplica cc_channel_local(CcChannel* channel, char* path, size_t room) {
  channel->replicas.local_path.Get(path, room);
  return static_cast<CcLocalReplica>(channel->replicas.local.load());
}

void cc_channel_read_stats(CcChannel* channel, CcReadStats* stats) {
  const ReadCounters& counters = channel->replicas.read_counters;
  *stats = {counters.reads.load(), counters.bytes.load(), counters.hedged.load(), counters.moved.load()};
}
