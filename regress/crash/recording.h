/*
 * What the recorder writes down and the crash test reads: everything that a process did to the files below one
 * directory, in order. The file is a sequence of records, each appended by one write(2) with O_APPEND, so several
 * processes may append.
 *
 *   record := size u32 (of all of it) | type u8 | pad u8{3} | handle u64 | a u64 | b u64 | bytes
 *
 * Plain data, for C and C++. Integers as the machine has them; the file never leaves it.
 */
#ifndef CONCORD_REGRESS_CRASH_RECORDING_H
#define CONCORD_REGRESS_CRASH_RECORDING_H

#include <stdint.h>

enum RecordingType {
  RECORDING_OPEN = 'o',       /* handle; a: 1 if the file was cut to nothing; bytes: path */
  RECORDING_WRITE = 'w',      /* handle; a: offset; b: 1 if durable at once (O_DSYNC); bytes: content */
  RECORDING_SIZE = 's',       /* handle; a: size; b: 1 if it only grows (fallocate) */
  RECORDING_SYNC_BEGIN = 'b', /* handle; a: number of the sync */
  RECORDING_SYNC_END = 'e',   /* handle; a: number of the sync: what was written before its begin is durable */
  RECORDING_RENAME = 'r',     /* a: 1 if the two exchange their names; bytes: from, NUL, to */
  RECORDING_UNLINK = 'u',     /* bytes: path */
  RECORDING_MKDIR = 'd',      /* bytes: path */
  RECORDING_RMDIR = 'R',      /* bytes: path */
  RECORDING_ACK = 'A',        /* a: a number that the client was told, by then */
};

struct RecordingHead {
  uint32_t size;
  uint8_t type;
  uint8_t pad[3];
  uint64_t handle;
  uint64_t a;
  uint64_t b;
};

#endif
