/*
 * Pause points: the steps of a commit, in order, and a few others, at which a test can stop the process that is there.
 *
 * They are off unless the environment variable CONCORD_PAUSE_DIR names a directory when the server (or concordd)
 * starts; nobody but who starts it can set that. Then whoever comes to a point waits while the file <directory>/<name>
 * is there, and appends its process id to <directory>/<name>.reached. Off, a point costs a load and a predicted branch.
 *
 * A pause adds no way to be interrupted: where the real code waits for something, the pause is part of that wait
 * (cc_pause_holds), elsewhere it blocks like any other code (cc_pause).
 *
 * C and C++. May be called from any thread; takes no locks.
 */
#ifndef CONCORD_CORE_PAUSE_POINTS_H
#define CONCORD_CORE_PAUSE_POINTS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
#define CC_PAUSE_POINTS(X) \
	X(BACKEND_ENCODED, "backend_encoded")                   /* the write set is complete, nobody else knows of it */ \
	X(BACKEND_SUBMITTED, "backend_submitted")               /* it is in the slot; the backend waits */ \
	X(GATEWAY_TAKEN, "gateway_taken")                       /* the gateway has it; it can still be withdrawn */ \
	X(GATEWAY_BEFORE_SEND, "gateway_before_send")           /* it cannot be any more; nothing has left */ \
	X(GATEWAY_SENT, "gateway_sent")                         /* it is on the stream */ \
	X(ADJUDICATOR_RECEIVED, "adjudicator_received")         /* before the decision */ \
	X(ADJUDICATOR_DECIDED, "adjudicator_decided")           /* it is in the window; before the append */ \
	X(JOURNAL_BEFORE_WRITE, "journal_before_write") \
	X(JOURNAL_WRITTEN, "journal_written")                   /* before the sync */ \
	X(JOURNAL_SYNCED, "journal_synced")                     /* it is committed, and nobody knows yet */ \
	X(STORAGE_BEFORE_APPLY, "storage_before_apply") \
	X(STORAGE_APPLIED, "storage_applied")                   /* the LMDB transaction is committed, not yet published */ \
	X(ADJUDICATOR_BEFORE_VERDICT, "adjudicator_before_verdict") /* durable, as a rule applied; neither page nor client know */ \
	X(GATEWAY_VERDICT, "gateway_verdict")                   /* the verdict has come, the slot does not have it */ \
	X(GATEWAY_ANSWERED, "gateway_answered")                 /* the slot has it, the backend has not been woken */ \
	X(BACKEND_DECIDED, "backend_decided")                   /* before Postgres' own commit */ \
	X(BACKEND_COMMITTED, "backend_committed")               /* after it, before the client is told */ \
	/* of a large transaction, which sends chunks ahead of its commit */ \
	X(CHUNK_SUBMITTED, "chunk_submitted")                   /* a chunk is in the slot; the backend waits */ \
	X(ADJUDICATOR_CHUNK, "adjudicator_chunk")               /* the adjudicator has it; before the append */ \
	X(STORAGE_STAGED, "storage_staged")                     /* the replica has staged it; not yet published */ \
	/* not of a commit */ \
	X(SNAPSHOT_LSN_READ, "snapshot_lsn_read")               /* a snapshot's LSN is known, and not registered */ \
	X(SWEEP_CATALOG_READ, "sweep_catalog_read")             /* the sweep knows a catalog's files, and has not looked at them */ \
	X(STORAGE_COPYING, "storage_copying")                   /* a part of another replica has come, which is being copied */
/* clang-format on */

typedef enum CcPausePoint {
#define CC_PAUSE_POINT_ENUM(id, name) CC_PAUSE_##id,
  CC_PAUSE_POINTS(CC_PAUSE_POINT_ENUM)
#undef CC_PAUSE_POINT_ENUM
      CC_PAUSE_POINT_COUNT
} CcPausePoint;

extern const bool cc_pauses_enabled; /* of this process, from its start */

/* Behind the two below. True while the point's file is there. */
bool cc_pause_check(CcPausePoint point);
void cc_pause_wait(CcPausePoint point);

/* Blocks while the point is switched on. */
static inline void cc_pause(CcPausePoint point) {
  if (__builtin_expect(cc_pauses_enabled, 0)) cc_pause_wait(point);
}

/* True while the point is switched on: for a loop that waits anyway. */
static inline bool cc_pause_holds(CcPausePoint point) {
  return __builtin_expect(cc_pauses_enabled, 0) && cc_pause_check(point);
}

#ifdef __cplusplus
}
#endif
#endif
