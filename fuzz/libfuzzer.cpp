// The entry of libFuzzer for one target, and its seeds: with CONCORD_FUZZ_SEEDS set, they are written into that
// directory first.
#include <cstdint>
#include <fstream>

#include "fuzz/target.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (const char* directory = getenv("CONCORD_FUZZ_SEEDS")) {
    int n = 0;
    for (const std::string& seed : concord::fuzz::CONCORD_FUZZ_TARGET.seeds())
      std::ofstream(std::string(directory) + "/seed-" + std::to_string(n++), std::ios::binary) << seed;
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  concord::fuzz::CONCORD_FUZZ_TARGET.run({reinterpret_cast<const char*>(data), size});
  return 0;
}
