// What concordctl has found out, printed for people or as JSON.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "sidecar/lsn_text.h"

namespace concord::ctl {

using Value = std::variant<std::string, uint64_t, bool>;
using Fields = std::vector<std::pair<std::string, Value>>;

class Report {
 public:
  // Of a directory, or of what else `kind` says.
  Report(std::string name, std::string state, std::string kind = "directory")
      : kind_(std::move(kind)), name_(std::move(name)), state_(std::move(state)) {}

  void set_state(std::string state) { state_ = std::move(state); }
  const std::string& state() const { return state_; }
  // The fields of a section; made at its first mention.
  Fields& Section(const std::string& name);
  // A row of a section that is a list.
  void AddRow(const std::string& name, Fields fields);
  // Something is wrong, in a sentence; or it is not, but worth knowing.
  void Problem(std::string text) { problems_.push_back(std::move(text)); }
  void Note(std::string text) { notes_.push_back(std::move(text)); }
  const std::vector<std::string>& problems() const { return problems_; }

  std::string Text() const;
  std::string Json() const;

 private:
  struct Part {
    std::string name;
    bool is_list = false;
    std::vector<Fields> rows;
  };
  Part* Find(const std::string& name, bool is_list);

  const std::string kind_;
  const std::string name_;
  std::string state_;
  std::vector<Part> parts_;
  std::vector<std::string> problems_;
  std::vector<std::string> notes_;
};

// The time in an LSN, "2026-01-31 12:00:00 UTC".
std::string LsnTime(Lsn lsn);

}  // namespace concord::ctl
