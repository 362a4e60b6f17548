// The layout of a storage replica's LMDB environment, shared by its writer (sidecar/storage) and by the backends that
// map it read-only (extension/bridge). docs/formats.md tells the same in prose.
//
//   database  key                               value
//   rows      row version (core/key.h), 24 B    tuple bytes, a multiple of 8 long; empty: tombstone
//   entries   index and system versions         value; empty: tombstone
//   meta      "format"                          u32le kReplicaFormat
//             "applied"                         u64le applied LSN
//             "horizon"                         u64le no version that a read at or above it needs has been pruned
//             "epoch"                           u64le epoch of the last applied record
//             "staged_from"                     u64le LSN: what undecided transactions have staged above it is in the
//                                               journal only; kNothingStaged if there is no such
//             "c" storage prefix (8 bytes)      counters: rows u64le, bytes u64le (live keys and values, unversioned)
//             "d" storage prefix (8 bytes)      drop under way (empty value); the range is deleted in slices
//   staged    token 16 B, sequence, piece u32be mutations of an undecided large transaction, cut into pieces; those
//                                               that came lately are not here, see "staged_from"
//
// All of meta changes in the same LMDB transaction as the versions it speaks of, so one read transaction sees a
// consistent (versions, applied, horizon). Rows are 8-aligned inside pages because every node of `rows` is a multiple
// of 8 long: node header 8, key 24, value a multiple of 8 (overflow values start 16 bytes into their page).
#pragma once

#include <cstdint>

namespace concord {

inline constexpr uint32_t kReplicaFormat = 4;
inline constexpr int kReplicaDatabases = 4;
inline constexpr char kDbRows[] = "rows";
inline constexpr char kDbEntries[] = "entries";
inline constexpr char kDbMeta[] = "meta";
inline constexpr char kDbStaged[] = "staged";
inline constexpr char kMetaFormat[] = "format";
inline constexpr char kMetaApplied[] = "applied";
inline constexpr char kMetaHorizon[] = "horizon";
inline constexpr char kMetaEpoch[] = "epoch";
inline constexpr char kMetaStagedFrom[] = "staged_from";
inline constexpr uint64_t kNothingStaged = UINT64_MAX;
inline constexpr char kMetaCounter = 'c';
inline constexpr char kMetaDropping = 'd';

// The map's size: address space, not disk. Both sides open with it. Another build may have another one; valgrind needs
// a small one.
#ifndef CONCORD_MAP_BITS
#define CONCORD_MAP_BITS 40
#endif
inline constexpr uint64_t kReplicaMapBytes = uint64_t{1} << CONCORD_MAP_BITS;

}  // namespace concord
