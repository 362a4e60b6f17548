#include "bridge/error.h"

#include <cstdarg>
#include <cstdio>

namespace concord::bridge {

namespace {
char last_error[1024] = "no error";
}

CcStatus Fail(CcStatus status, const char* format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(last_error, sizeof last_error, format, args);
  va_end(args);
  return status;
}

CcStatus FromStatus(const Status& status) {
  switch (status.code()) {
    case Code::kOk: return CC_OK;
    case Code::kNotFound: return CC_END;
    case Code::kTooLarge: return Fail(CC_TOO_LARGE, "%s", status.message().c_str());
    default: return Fail(CC_IO_ERROR, "%s", status.ToString().c_str());
  }
}

extern "C" const char* cc_error(void) { return last_error; }

}  // namespace concord::bridge
