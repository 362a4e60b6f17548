/*
 * The extension's background workers and what they share.
 */
#ifndef CONCORD_WORKER_H
#define CONCORD_WORKER_H

#include "concord.h"

/* Registers gateway and launcher with the postmaster; from _PG_init only. */
void		concord_register_workers(void);
/* First thing in a worker's main function: signal handlers, a connection without a database. */
void		concord_worker_start(void);
/* Waits for its latch, or so long (-1: for ever), and does what every process of the server must do now and then. */
void		concord_worker_wait(long timeout_ms);
/* Hooks by which the postmaster makes our shared memory; from _PG_init only. */
void		concord_install_shmem_hooks(void);
/* Warns of readers that are open for long, and ends those that are over the limit; to be called every now and then. */
void		concord_watch_readers(void);

/* ---- the cluster, and what is wrong with the sidecar (cluster.c) ---- */
Size		concord_cluster_shmem_size(void);
void		concord_cluster_shmem_init(void);
/*
 * A sidecar says that it serves this cluster. True if that is ours; a server that has none yet takes it for its own. Otherwise
 * what is wrong is set as the gateway's trouble. Called by the gateway's session thread; uses nothing of Postgres' but shared memory.
 */
bool		concord_cluster_meet(const char *id);

typedef enum ConcordTroubleSlot
{
	CONCORD_TROUBLE_LAUNCHER, CONCORD_TROUBLE_GATEWAY
} ConcordTroubleSlot;
#define CONCORD_TROUBLE_SLOTS 2
/* Each slot is one thread's to set. */
void		concord_set_trouble(ConcordTroubleSlot slot, ConcordTroubleKind kind, const char *text);

/* Directory that concord.so was loaded from. */
const char *concord_library_directory(void);
/*
 * A line "name=value" of the text that concord_fetch_status returns: the value as a number, or where it stands. False if there is no
 * such line, or no text at all.
 */
bool		concord_status_value(const char *text, const char *name, uint64 *value);
bool		concord_status_text(const char *text, const char *name, const char **start, int *value_length);

#endif
