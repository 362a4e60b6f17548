// concordctl: looks at Concord directories. It never changes one.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>

#include "sidecar/ctl/check.h"
#include "sidecar/ctl/status.h"
#include "sidecar/version.h"

namespace concord::ctl {
namespace {

constexpr char kFooter[] =
    "DIR is concord.directory, by default `concord` in PostgreSQL's data directory. Run it as the user that owns "
    "it.\n\n"
    "Exit codes of status: 0 runs and all is well; 1 runs, and something is wrong; 3 stopped; 4 not a Concord "
    "directory,\n"
    "of another format, or unreadable.\n"
    "Exit codes of check: 0 all is well; 1 damaged; 3 in use; 4 not a Concord directory, of another format, or "
    "unreadable.\n"
    "Both: 2 wrong usage.";

int Run(int argc, char** argv) {
  std::string directory, address;
  bool json = false;
  CLI::App app("Looks at Concord directories; never changes one.", "concordctl");
  app.set_version_flag("--version", std::string("concordctl ") + kVersion);
  app.footer(kFooter);
  app.require_subcommand(1);
  CLI::App* status = app.add_subcommand("status", "what concordd does, or how a stopped directory was left");
  CLI::App* check = app.add_subcommand(
      "check", "verify a stopped directory: metastore, journal, pages, versions, counters, indexes against rows");
  for (CLI::App* command : {status, check}) {
    command->add_option("DIR", directory, "the directory of a concordd")->required();
    command->add_flag("--json", json, "print one JSON object");
    command->footer(kFooter);
  }
  status->add_option("--address", address, "where concordd listens (default: as it says in DIR)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  directory = std::filesystem::absolute(directory).lexically_normal().string();
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  Report report(directory, "");
  const ExitCode code = status->parsed() ? ShowStatus(directory, address, &report) : Check(directory, &report);
  fputs((json ? report.Json() : report.Text()).c_str(), stdout);
  return code;
}

}  // namespace
}  // namespace concord::ctl

int main(int argc, char** argv) { return concord::ctl::Run(argc, argv); }
