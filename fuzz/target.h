// What is fuzzed: functions that take bytes from outside, each behind one entry that must neither crash nor break the
// promise written above it. Run by fuzz_test in every `make check` with random mutations of the seeds, by libFuzzer in
// `make fuzz`. Inputs that once failed stay in fuzz/corpus/<name>/.
//
// One thread calls a target; what it needs is made at the first call and kept.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace concord::fuzz {

struct Target {
  const char* name;
  void (*run)(std::string_view input);
  std::vector<std::string> (*seeds)();
};

extern const Target kJournal, kKeys, kWriteSet, kServices, kFiles;
inline const Target* const kTargets[] = {&kJournal, &kKeys, &kWriteSet, &kServices, &kFiles};

inline void Require(bool promise, const std::string& what) {
  if (promise) return;
  fprintf(stderr, "broken promise: %s\n", what.c_str());
  abort();
}

// Takes bytes from the front of an input.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  uint64_t Number(size_t size) {
    uint64_t number = 0;
    for (size_t i = 0; i < size && !rest_.empty(); i++, rest_.remove_prefix(1))
      number = number << 8 | static_cast<uint8_t>(rest_[0]);
    return number;
  }
  std::string_view Rest() const { return rest_; }
  std::string_view Bytes(size_t size) {
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(out.size());
    return out;
  }

 private:
  std::string_view rest_;
};

// A directory for the life of the process.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "concord-fuzz-XXXXXX").string();
    Require(mkdtemp(name.data()) != nullptr, "mkdtemp");
    path_ = name;
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace concord::fuzz
