// For tests that compare with a model, or break something, at random: how often.
#pragma once

#include <cstdlib>

namespace concord {

// `usual`, or CONCORD_ROUNDS (of the environment) times as many.
inline unsigned Rounds(unsigned usual) {
  const char* times = std::getenv("CONCORD_ROUNDS");
  return usual * (times != nullptr ? static_cast<unsigned>(std::atoi(times)) : 1);
}

}  // namespace concord
