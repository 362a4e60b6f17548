// How the C++ behind the bridge reports errors: a CcStatus, and the text of the last one for cc_error(). Every extern
// "C" function that may fail runs its body in Guard, so that no exception crosses the wall.
#pragma once

#include <exception>
#include <new>

#include "bridge/replica.h"
#include "core/status.h"

namespace concord::bridge {

// Remembers the text (printf style) and returns `status`.
CcStatus Fail(CcStatus status, const char* format, ...) __attribute__((format(printf, 2, 3)));

CcStatus FromStatus(const Status& status);

// For tests (live.h): the call that brings it to 0 throws.
extern uint64_t fault_countdown;
void Throw();

template <typename Body>
CcStatus Guard(Body&& body) noexcept {
  try {
    if (fault_countdown != 0 && --fault_countdown == 0) [[unlikely]]
      Throw();
    return body();
  } catch (const std::bad_alloc&) {
    return Fail(CC_NO_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return Fail(CC_IO_ERROR, "%s", e.what());
  } catch (...) {
    return Fail(CC_IO_ERROR, "unknown exception");
  }
}

// For what must not fail, and does not throw: releasing things. Nothing is left to be done about an exception.
template <typename Body>
void Release(Body&& body) noexcept {
  body();
}

}  // namespace concord::bridge
