// Counts of observations by size, for latencies and for sizes of groups. To observe is two additions, without a lock.
// Buckets are bounded by powers of two.
//
// Thread-safe. Whoever reads while others observe may miss their last observations, or find one in the sum alone.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <ctime>
#include <vector>

namespace concord {

class Histogram {
 public:
  static constexpr int kBuckets = 20;  // with a bound; one more has the rest

  // Bucket i has what is at most 2^(i + first_bits) and in no bucket before it; exported times `scale`.
  struct Counts {
    int first_bits = 0;
    double scale = 1;
    std::vector<uint64_t> counts;  // the last one has the rest
    uint64_t sum = 0;
  };

  // Of microseconds, from 16 us to 8 s, exported as seconds; or of numbers, from 1 to half a million.
  static constexpr int kMicroseconds = 4, kNumbers = 0;
  explicit Histogram(int first_bits) : first_bits_(first_bits) {}

  void Observe(uint64_t value, uint64_t times = 1) {
    const uint64_t above = value == 0 ? 0 : (value - 1) >> first_bits_;
    const int bucket = std::min(static_cast<int>(std::bit_width(above)), kBuckets);
    counts_[static_cast<size_t>(bucket)].fetch_add(times, std::memory_order_relaxed);
    sum_.fetch_add(value * times, std::memory_order_relaxed);
  }

  Counts Read() const {
    Counts read{.first_bits = first_bits_, .scale = first_bits_ == kMicroseconds ? 1e-6 : 1, .counts = {}, .sum = 0};
    for (const auto& count : counts_) read.counts.push_back(count.load(std::memory_order_relaxed));
    read.sum = sum_.load(std::memory_order_relaxed);
    return read;
  }

 private:
  const int first_bits_;
  std::array<std::atomic<uint64_t>, kBuckets + 1> counts_{};
  std::atomic<uint64_t> sum_ = 0;
};

// A clock for them.
inline uint64_t MonotonicUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace concord
