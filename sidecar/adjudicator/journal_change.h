// A change of the journal's members while an epoch goes on (docs/adjudicator.md, "Changing the members"): the new nodes
// catch up, then a record counts as committed only when both ensembles have it, then the metastore gets the new
// membership, and from then on only the new ensemble counts.
//
// Used by one thread, once, that has ended before the writer stops.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/status.h"
#include "sidecar/adjudicator/journal_ensemble.h"
#include "sidecar/adjudicator/journal_writer.h"
#include "sidecar/metastore/metastore.h"

namespace concord {

struct JournalChange {
  uint64_t epoch = 0;
  Membership from;                 // the journal's part; the version is of no account
  std::vector<size_t> from_nodes;  // their indexes in the writer
  std::vector<Member> add;
  std::vector<std::string> remove;
  uint32_t write_quorum = 0;  // 0: as before, or more than half if there are more or fewer nodes then

  Metastore* metastore = nullptr;
  JournalWriter* writer = nullptr;
  std::function<JournalPeer(const Member&)> connect;
  std::function<size_t(const JournalPeer&)> join;  // has it caught up by JournalRejoin; its index in the writer
  std::function<bool()> given_up;                  // until the metastore is asked
  int meet_ms = 1000;
  int poll_ms = 100;
  int begin_ms = 2000;  // commits may stand still for so long, then the change is given up
  int retry_ms = 200;   // of the metastore

  // The metastore was asked, and what it made of that is not known: both ensembles are still counted, and the epoch has
  // to end, as whoever leads next finds out.
  bool unsettled = false;
  // Results. `to`: with its version.
  Membership to;
  std::vector<size_t> to_nodes;
  std::vector<JournalPeer> added;

  // kInvalid, kConflict (not those members, or somebody else leads), kUnavailable (given up; the epoch has ended: then
  // the metastore knows how far it came). Ok also if there is nothing to change.
  Status Run();

 private:
  Status Plan();
  Status Meet(const JournalPeer& peer) const;
  Status AwaitJoined(const std::vector<size_t>& nodes) const;
  Status Write();
};

}  // namespace concord
