// The fuzz targets with their seeds, with inputs that once failed, and with random mutations of both; the seed of a
// failure is printed. CONCORD_FUZZ_SEED repeats it, CONCORD_FUZZ_MS (1000) is how long each target runs.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <random>

#include "fuzz/target.h"

namespace concord::fuzz {
namespace {

std::string Mutate(std::string input, std::mt19937_64* random, const std::vector<std::string>& others) {
  for (uint64_t i = 1 + (*random)() % 4; i > 0; i--) {
    const size_t at = input.empty() ? 0 : (*random)() % input.size();
    switch ((*random)() % 8) {
      case 0:
        if (!input.empty()) input[at] = static_cast<char>((*random)());
        break;
      case 1:
        if (!input.empty()) input[at] = static_cast<char>(input[at] ^ (1 << (*random)() % 8));
        break;
      case 2: input.insert(at, (*random)() % 20, static_cast<char>((*random)())); break;
      case 3: input.erase(at, (*random)() % 20); break;
      case 4: input.resize(at); break;
      case 5: input += others[(*random)() % others.size()]; break;
      case 6: {
        const uint64_t numbers[] = {0, 1, UINT64_MAX, uint64_t{1} << 63, UINT32_MAX, 0x7FFFFFFF, 511, 504};
        const uint64_t number = numbers[(*random)() % std::size(numbers)];
        input.insert(at, reinterpret_cast<const char*>(&number), size_t{1} << (*random)() % 4);
        break;
      }
      default: {
        const std::string& other = others[(*random)() % others.size()];
        if (!other.empty()) input.insert(at, other, (*random)() % other.size(), 16);
      }
    }
  }
  return input;
}

class FuzzTest : public testing::TestWithParam<const Target*> {};

TEST_P(FuzzTest, KeepsItsPromise) {
  const Target& target = *GetParam();
  std::vector<std::string> inputs = target.seeds();
  for (const auto& entry : std::filesystem::directory_iterator(std::string(CONCORD_FUZZ_CORPUS) + "/" + target.name)) {
    std::ifstream file(entry.path(), std::ios::binary);
    inputs.emplace_back((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  }
  for (const std::string& input : inputs) target.run(input);

  const char* seed_text = getenv("CONCORD_FUZZ_SEED");
  const char* ms_text = getenv("CONCORD_FUZZ_MS");
  uint64_t seed = seed_text != nullptr ? std::stoull(seed_text) : std::random_device()();
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(ms_text != nullptr ? atoi(ms_text) : 1000);
  std::mt19937_64 random(seed);
  // Only an abort ends the process, so this is the last line then.
  fprintf(stderr, "%s: CONCORD_FUZZ_SEED=%llu\n", target.name, static_cast<unsigned long long>(seed));
  size_t runs = 0;
  do {
    target.run(Mutate(inputs[random() % inputs.size()], &random, inputs));
    runs++;
  } while (std::chrono::steady_clock::now() < end);
  RecordProperty("runs", static_cast<int>(runs));
  if (getenv("CONCORD_FUZZ_MS") != nullptr) fprintf(stderr, "%s: %zu runs\n", target.name, runs);
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzTest, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace concord::fuzz
