#include "bridge/live.h"

#include <new>
#include <stdexcept>

#include "bridge/cursor.h"
#include "bridge/error.h"
#include "bridge/own.h"
#include "bridge/remote_batch.h"
#include "bridge/view.h"

namespace concord::bridge {

uint64_t fault_countdown = 0;

namespace {
CcFault fault_kind = CC_FAULT_NO_MEMORY;
}

void Throw() {
  switch (fault_kind) {
    case CC_FAULT_NO_MEMORY: throw std::bad_alloc();
    case CC_FAULT_LENGTH: throw std::length_error("length error of a test");
    case CC_FAULT_UNKNOWN: throw 1;  // NOLINT: not an exception type, on purpose
  }
}

extern "C" void cc_fault(uint64_t calls, CcFault fault) {
  fault_countdown = calls;
  fault_kind = fault;
}

extern "C" uint64_t cc_fault_left(void) { return fault_countdown; }

extern "C" void cc_live(CcLive* live) {
  *live = {.cursors = LiveCursors(), .scans = LiveScans(), .views = 0, .pins = 0, .writes = OwnWrites().bytes()};
  Replica::Get().CountPins(&live->views, &live->pins);
  RemoteBatch::CountPins(&live->views, &live->pins);
}

}  // namespace concord::bridge
