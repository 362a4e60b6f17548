// Options from a file, as concordd and concordctl take them: lines `name = value`, the names those of the command line
// without the dashes. Values with `#`, a comma or blanks at their ends stand in quotes, 'so' or "so"; of an option that
// takes several values they are separated by commas. `#` begins a comment. What the command line says wins.
//
// A name twice, one that is not known, a value that makes no sense: refused, with the file and the line.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace concord {

class ConfigFile {
 public:
  // Adds --config to the application. kOthers: the file is written for concordd, and what is not an option of the
  // subcommand that is run is somebody else's.
  enum Names { kOwn, kOthers };
  ConfigFile(CLI::App* app, Names names);

  // What to tell of an error in parsing: with the file and the line, if the value is from there.
  std::string Explain(const CLI::ParseError& error) const;

 private:
  class Format;

  CLI::App* const app_;
  std::shared_ptr<Format> format_;
};

// Splits the value of a line into its parts and takes quotes away; false if a quote is not closed or something follows
// it. For tests.
bool SplitConfigValue(const std::string& text, std::vector<std::string>* parts);

}  // namespace concord
