// The C face of core/read_set.h. What scans pass is noted in scan.cpp.
#include "bridge/read_set.h"

#include <new>

#include "bridge/error.h"
#include "bridge/reads.h"

namespace concord::bridge {

namespace {

bool noting = false;
bool lost = false;

ReadSet& Reads() {
  static ReadSet& reads = *new ReadSet;
  return reads;
}

}  // namespace

ReadSet* OwnReads() { return noting ? &Reads() : nullptr; }

void LoseReads() { lost = true; }

std::string_view EncodedReads(Lsn read_lsn) {
  static std::string encoded;
  encoded.clear();
  if (!noting) return encoded;
  NoteOpenScans();
  if (lost) throw std::bad_alloc();
  Reads().AppendTo(&encoded, read_lsn);
  return encoded;
}

extern "C" void cc_reads_begin(size_t limit) {
  noting = true;
  Reads().set_limit(limit);
}

extern "C" void cc_reads_end(void) {
  noting = lost = false;
  Reads().Clear();
}

extern "C" CcStatus cc_reads_note(uint64_t prefix, const void* low, size_t low_size, const void* high,
                                  size_t high_size) {
  return Guard([&] {
    if (noting)
      Reads().Add(FullKey(prefix, {static_cast<const char*>(low), low_size}), HighBound(prefix, high, high_size));
    return CC_OK;
  });
}

extern "C" CcStatus cc_reads_cover(uint64_t prefix, const void* body, size_t body_size, bool* covers) {
  return Guard([&] {
    if (noting) NoteOpenScans();
    *covers = noting && Reads().Covers(FullKey(prefix, {static_cast<const char*>(body), body_size}));
    return CC_OK;
  });
}

}  // namespace concord::bridge
