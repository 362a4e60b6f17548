#include "sidecar/ctl/report.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace concord::ctl {
namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string Plain(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "yes" : "no";
  return std::to_string(std::get<uint64_t>(value));
}

std::string JsonValue(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return Quoted(*text);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return std::to_string(std::get<uint64_t>(value));
}

std::string JsonObject(const Fields& fields) {
  std::string out = "{";
  for (const auto& [name, value] : fields) out += (out.size() > 1 ? "," : "") + Quoted(name) + ":" + JsonValue(value);
  return out + "}";
}

std::string JsonStrings(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += (out.size() > 1 ? "," : "") + Quoted(text);
  return out + "]";
}

}  // namespace

Report::Part* Report::Find(const std::string& name, bool is_list) {
  for (Part& part : parts_) {
    if (part.name == name) return &part;
  }
  parts_.push_back({name, is_list, {}});
  return &parts_.back();
}

Fields& Report::Section(const std::string& name) {
  Part* part = Find(name, false);
  if (part->rows.empty()) part->rows.emplace_back();
  return part->rows.front();
}

void Report::AddRow(const std::string& name, Fields fields) { Find(name, true)->rows.push_back(std::move(fields)); }

std::string Report::Text() const {
  std::string out = (kind_ == "directory" ? "" : kind_ + " ") + name_ + ": " + state_ + "\n";
  for (const Part& part : parts_) {
    out += part.name + "\n";
    for (const Fields& row : part.rows) {
      if (part.is_list) {
        std::string line;
        for (const auto& [name, value] : row) line += (line.empty() ? "  " : ", ") + name + " " + Plain(value);
        out += line + "\n";
        continue;
      }
      for (const auto& [name, value] : row) {
        std::string shown = name;
        std::replace(shown.begin(), shown.end(), '_', ' ');
        out += "  " + shown + std::string(shown.size() < 18 ? 18 - shown.size() : 1, ' ') + Plain(value) + "\n";
      }
    }
  }
  for (const std::string& note : notes_) out += "note: " + note + "\n";
  for (const std::string& problem : problems_) out += "problem: " + problem + "\n";
  return out;
}

std::string Report::Json() const {
  std::string out = "{" + Quoted(kind_) + ":" + Quoted(name_) + ",\"state\":" + Quoted(state_);
  for (const Part& part : parts_) {
    out += "," + Quoted(part.name) + ":";
    if (!part.is_list) {
      out += JsonObject(part.rows.front());
      continue;
    }
    out += "[";
    for (size_t i = 0; i < part.rows.size(); i++) out += (i > 0 ? "," : "") + JsonObject(part.rows[i]);
    out += "]";
  }
  return out + ",\"notes\":" + JsonStrings(notes_) + ",\"problems\":" + JsonStrings(problems_) + "}\n";
}

std::string LsnTime(Lsn lsn) {
  if (lsn == kNoLsn) return "never";
  const auto seconds = static_cast<time_t>(LsnToUnixUs(lsn) / 1000000);
  tm parts;
  char text[40];
  if (gmtime_r(&seconds, &parts) == nullptr || strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
    return "?";
  return text;
}

}  // namespace concord::ctl
