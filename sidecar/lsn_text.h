// LSNs as people read them.
#pragma once

#include <cinttypes>
#include <cstdio>
#include <string>

#include "core/lsn.h"

namespace concord {

// "2A/1B00C003", as SQL shows it.
inline std::string LsnText(Lsn lsn) {
  char text[32];
  snprintf(text, sizeof text, "%" PRIX32 "/%" PRIX32, static_cast<uint32_t>(lsn >> 32), static_cast<uint32_t>(lsn));
  return text;
}

}  // namespace concord
