#include "sidecar/rpc/config_file.h"

#include <CLI/CLI.hpp>
#include <istream>
#include <map>

namespace concord {
namespace {

constexpr char kBlanks[] = " \t\r";

std::string Trim(const std::string& text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// The option's name as it is written: without dashes.
bool IsIn(const std::string& message, const std::string& name) {
  const size_t at = message.find("--" + name);
  if (at == std::string::npos) return false;
  const size_t end = at + 2 + name.size();
  return end == message.size() || (message[end] != '-' && isalnum(static_cast<unsigned char>(message[end])) == 0);
}

}  // namespace

bool SplitConfigValue(const std::string& text, std::vector<std::string>* parts) {
  parts->assign(1, "");
  bool quoted = false;  // the part that is read
  for (size_t i = 0; i < text.size() && text[i] != '#'; i++) {
    std::string& part = parts->back();
    const char c = text[i];
    if (c == ',') {
      if (!quoted) part = Trim(part);
      parts->emplace_back();
      quoted = false;
    } else if (!quoted && (c == '\'' || c == '"') && Trim(part).empty()) {
      const size_t end = text.find(c, i + 1);
      if (end == std::string::npos) return false;
      part = text.substr(i + 1, end - i - 1);
      quoted = true;
      i = end;
    } else if (!quoted) {
      part += c;
    } else if (std::string_view(kBlanks).find(c) == std::string_view::npos) {
      return false;
    }
  }
  if (!quoted) parts->back() = Trim(parts->back());
  return true;
}

class ConfigFile::Format : public CLI::Config {
 public:
  Format(CLI::App* app, Names names) : app_(app), names_(names) {}

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> items;
    const CLI::App* reader = app_;
    std::vector<std::string> parents;
    while (!reader->get_subcommands().empty()) {
      reader = reader->get_subcommands().front();
      parents.push_back(reader->get_name());
    }
    std::map<std::string, int> lines;
    std::string line;
    for (int number = 1; std::getline(input, line); number++) {
      CLI::ConfigItem item;
      if (!Parse(line, number, &item)) continue;
      const auto [first, fresh] = lines.try_emplace(item.name, number);
      if (!fresh) Refuse(number, "\"" + item.name + "\" is set in line " + std::to_string(first->second) + " already");
      const CLI::Option* option = reader->get_option_no_throw("--" + item.name);
      if (option == nullptr && names_ == kOthers) continue;
      if (option == nullptr) Refuse(number, "there is no option \"" + item.name + "\"");
      if (!option->get_configurable()) Refuse(number, "\"" + item.name + "\" is for the command line only");
      if (option->get_items_expected_max() == 1 && item.inputs.size() > 1)
        Refuse(number, "\"" + item.name + "\" has one value; put it in quotes if there is a comma in it");
      if (option->count() == 0) taken.emplace(item.name, number);
      item.parents = parents;
      items.push_back(std::move(item));
    }
    return items;
  }

  std::string Where(int line) const {
    return app_->get_config_ptr()->as<std::string>() + ", line " + std::to_string(line);
  }

  // Of the values that are taken from the file.
  mutable std::map<std::string, int> taken;

 private:
  [[noreturn]] void Refuse(int line, const std::string& reason) const {
    throw CLI::ConfigError(Where(line) + ": " + reason, CLI::ExitCodes::ConfigError);
  }

  bool Parse(const std::string& line, int number, CLI::ConfigItem* item) const {
    const std::string text = Trim(line);
    if (text.empty() || text.front() == '#') return false;
    const size_t equals = text.find('=');
    item->name = Trim(text.substr(0, equals));
    if (equals == std::string::npos || item->name.empty() ||
        item->name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") != std::string::npos)
      Refuse(number, "\"" + text + "\" is not NAME = VALUE");
    if (!SplitConfigValue(text.substr(equals + 1), &item->inputs))
      Refuse(number, "the value of \"" + item->name + "\" has a quote that is not closed, or more behind it");
    if (item->inputs.size() == 1 && item->inputs.front().empty()) Refuse(number, "\"" + item->name + "\" has no value");
    return true;
  }

  CLI::App* const app_;
  const Names names_;
};

ConfigFile::ConfigFile(CLI::App* app, Names names) : app_(app), format_(std::make_shared<Format>(app, names)) {
  app->set_config("--config", "", "a file with options, one a line: NAME = VALUE");
  app->config_formatter(format_);
}

std::string ConfigFile::Explain(const CLI::ParseError& error) const {
  const std::string message = error.what();
  for (const auto& [name, line] : format_->taken) {
    if (IsIn(message, name)) return format_->Where(line) + ": " + message;
  }
  return message;
}

}  // namespace concord
