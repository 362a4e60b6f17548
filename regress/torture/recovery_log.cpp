#include "recovery_log.h"

#include <chrono>

#include "history.h"

namespace torture {
namespace {

struct Step {
  const char* name;
  std::string_view text;  // what is logged at its end
};

// In the order in which they follow each other.
constexpr Step kStepTexts[] = {
    {"WAL replayed", "redo done at"},
    {"server ready", "database system is ready to accept connections"},
    {"sidecar started", "started concord sidecar"},
    {"leading", "leading epoch="},
    {"sidecar ready", "ready address="},
    {"journal replayed", "caught up with the journal"},
    {"gateway connected", "connected to the adjudicator"},
};

}  // namespace

RecoveryLog::RecoveryLog(const std::string& path) : file_(path) {
  static_assert(std::size(kStepTexts) == kSteps);
  file_.seekg(0, std::ios::end);
  Begin();
  thread_ = std::thread([this] { Run(); });
}

RecoveryLog::~RecoveryLog() {
  stop_ = true;
  thread_.join();
}

void RecoveryLog::Run() {
  std::string rest;
  while (!stop_) {
    char buffer[4096];
    file_.clear();  // the end of the file is not its end for good
    for (;;) {
      file_.read(buffer, sizeof buffer);
      if (file_.gcount() == 0) break;
      rest.append(buffer, static_cast<size_t>(file_.gcount()));
    }
    size_t begin = 0;
    for (size_t end; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1)
      Read(std::string_view(rest).substr(begin, end - begin));
    rest.erase(0, begin);
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
}

void RecoveryLog::Read(std::string_view line) {
  for (size_t i = 0; i < kSteps; i++) {
    if (line.find(kStepTexts[i].text) == std::string_view::npos) continue;
    const std::lock_guard lock(mutex_);
    Seen& seen = seen_[i];
    seen.last_us = NowUs();
    if (seen.count++ == 0) seen.first_us = seen.last_us;
  }
}

void RecoveryLog::Begin() {
  const std::lock_guard lock(mutex_);
  begin_us_ = NowUs();
  seen_ = {};
}

std::string RecoveryLog::Steps() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (size_t i = 0; i < kSteps; i++) {
    const Seen& seen = seen_[i];
    if (seen.count == 0) continue;
    if (!text.empty()) text += ", ";
    text.append(kStepTexts[i].name).append(" ").append(std::to_string((seen.first_us - begin_us_) / 1000));
    // A sidecar or a session that did not stay.
    if (seen.count > 1)
      text.append(" to ").append(std::to_string((seen.last_us - begin_us_) / 1000)) +=
          " (" + std::to_string(seen.count) + " times)";
  }
  return text.empty() ? "nothing in the log" : text;
}

}  // namespace torture
