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
/* Directory that concord.so was loaded from. */
const char *concord_library_directory(void);

#endif
