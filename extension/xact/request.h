/*
 * Requests of a backend to the gateway: handing over, waiting, asking again. See bridge/channel.h for the slot protocol.
 */
#ifndef CONCORD_XACT_REQUEST_H
#define CONCORD_XACT_REQUEST_H

#include "concord.h"

/*
 * Hands a request over and waits for its answer until it is settled or concord.commit_timeout has passed; asks again with
 * the same bytes where the gateway lost it or no leader could decide. The outcome is CC_COMMITTED, CC_CONFLICT,
 * CC_READ_CONFLICT, CC_OUT_TOO_OLD, CC_OUT_INVALID, CC_OUT_NO_SPACE, CC_OUT_UNAVAILABLE (nothing was decided) or CC_OUT_UNKNOWN.
 *
 * `is_commit` says that the request is the running transaction's own commit. Interrupts are served until the gateway has sent
 * that; from then on they wait for the verdict, because the outcome is no longer ours to choose. A cancel request and the end
 * of the session bound the wait to seconds. Any other request can be interrupted at any time, and its outcome is never CC_OUT_UNKNOWN: what it may
 * have done means nothing without the commit.
 */
CcAnswer	concord_request(CcRequestKind kind, const void *data, size_t size, bool is_commit);

/*
 * Chunks on their way while the backend goes on, at most CC_CHUNKS_UNDER_WAY: before one more, the oldest is finished. `data` must
 * stay as it is until then. To finish is to wait for the answer as above; `done`, if not NULL, is then called with the chunk's LSN.
 * They are finished in the order in which they were started. Should that raise, the chunk is still there, and is sent again when
 * it is finished the next time. Any other request takes the place of one more, and waits for the
 * oldest one's answer if there is none.
 */
void		concord_request_start_chunk(const void *data, size_t size, void (*done) (uint64 lsn));
void		concord_request_finish_chunks(void);
void		concord_request_forget_chunks(void);	/* at the end of the transaction */

/* The newest committed LSN by RPC, for when the LSN page has no valid lease. Raises 08006 after concord.read_timeout. */
uint64		concord_request_read_lsn(void);

/*
 * To be called, however often, by who waits for something that the gateway does. Before 16 a postmaster that hears of a worker's end while it
 * forks for a connection goes to sleep for up to a minute before it thinks of starting that worker again, unless something wakes it: it has
 * looked at the clock already.
 */
void		concord_remind_postmaster(void);

/* Raises the error that an outcome other than CC_COMMITTED stands for. */
void		concord_raise_outcome(const CcAnswer *answer) pg_attribute_noreturn();

#endif
