// concordctl: looks at Concord directories, and never changes one; and at the members of a cluster.
#include <grpc/support/log.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "sidecar/ctl/check.h"
#include "sidecar/ctl/cluster.h"
#include "sidecar/ctl/status.h"
#include "sidecar/rpc/config_file.h"
#include "sidecar/rpc/credentials.h"
#include "sidecar/rpc/init.h"
#include "sidecar/rpc/tls_options.h"
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
    "Exit codes of cluster, journal, storage and leader: 0 done, or all is well; 1 there are members already, or none, "
    "or "
    "something is wrong;\n"
    "4 etcd does not answer, or what it has is not understood.\n"
    "All: 2 wrong usage.";

int Run(int argc, char** argv) {
  std::string directory, address, cluster_id;
  bool json = false;
  MetastoreOptions metastore;
  TlsFiles tls;
  std::vector<std::string> journal, storage, storage_add, storage_remove;
  uint32_t write_quorum = 0;
  CLI::App app("Looks at Concord directories, and never changes one; and at the members of a cluster.", "concordctl");
  app.set_version_flag("--version", std::string("concordctl ") + kVersion);
  app.footer(kFooter);
  app.require_subcommand(1);
  CLI::App* status = app.add_subcommand("status", "what concordd does, or how a stopped directory was left");
  CLI::App* check = app.add_subcommand(
      "check", "verify a stopped directory: metastore, journal, pages, versions, counters, indexes against rows");
  for (CLI::App* command : {status, check}) {
    command->add_option("DIR", directory, "the directory of a concordd")->required();
    command->footer(kFooter);
  }
  status->add_option("--address", address, "where concordd listens (default: as it says in DIR)");
  CLI::App* cluster = app.add_subcommand("cluster", "the members of a cluster, in etcd");
  cluster->require_subcommand(1);
  cluster->footer(kFooter);
  CLI::App* init = cluster->add_subcommand("init", "write down the members of a new cluster");
  CLI::App* members =
      cluster->add_subcommand("members", "the journal nodes and storage replicas, and who leads or was the last to");
  CLI::App* cluster_status = cluster->add_subcommand("status", "every member, and what is wrong");
  CLI::App* journal_command =
      app.add_subcommand("journal", "change the journal nodes of a cluster while commits go on");
  journal_command->require_subcommand(1);
  journal_command->footer(kFooter);
  CLI::App* add = journal_command->add_subcommand("add", "have new nodes catch up, and count them from then on");
  CLI::App* remove = journal_command->add_subcommand("remove", "count nodes no more, and send them nothing");
  CLI::App* replace = journal_command->add_subcommand("replace", "both at once: a node, dead or not, for a new one");
  JournalEdit edit;
  std::string replaced, replacement;
  add->add_option("MEMBER", edit.add, "each ID=ADDRESS, as in cluster init")->required();
  remove->add_option("ID", edit.remove, "of the nodes")->required();
  replace->add_option("ID", replaced, "of the node that goes")->required();
  replace->add_option("MEMBER", replacement, "ID=ADDRESS of the one that comes")->required();
  for (CLI::App* command : {add, remove, replace}) {
    command->add_option("--write-quorum", edit.write_quorum,
                        "of the new members (default: as before; with more or fewer nodes, more than half)");
    command->add_option("--timeout", edit.timeout_s, "seconds for the new nodes to catch up")->capture_default_str();
  }
  CLI::App* storage_command = app.add_subcommand("storage", "which storage replicas are meant to be there");
  storage_command->require_subcommand(1);
  storage_command->footer(kFooter);
  CLI::App* register_storage = storage_command->add_subcommand("add", "register replicas: others may copy them");
  CLI::App* unregister_storage =
      storage_command->add_subcommand("remove", "take replicas out: the journal waits for them no more");
  register_storage->add_option("MEMBER", storage_add, "each ID=ADDRESS, where ID is in the replica's file node_id")
      ->required();
  unregister_storage->add_option("ID", storage_remove, "of the replicas")->required();
  CLI::App* leader = app.add_subcommand("leader", "who leads a cluster");
  leader->require_subcommand(1);
  leader->footer(kFooter);
  CLI::App* transfer = leader->add_subcommand("transfer", "have the leader hand over to a standby");
  for (CLI::App* command :
       {init, members, cluster_status, transfer, add, remove, replace, register_storage, unregister_storage}) {
    command->add_option("--cluster", cluster_id, "its id")->required();
    metastore.AddTo(command);
  }
  for (CLI::App* command :
       {status, cluster_status, transfer, add, remove, replace, register_storage, unregister_storage})
    AddTlsOptions(command, &tls);
  for (CLI::App* command : {status, cluster, init, members, cluster_status, leader, transfer, storage_command,
                            register_storage, unregister_storage})
    command->fallthrough();
  const ConfigFile config(&app, ConfigFile::kOthers);
  init->add_option("--journal", journal,
                   "the journal nodes, each ID=ADDRESS, where ID is in the node's file node_id; comma-separated")
      ->delimiter(',')
      ->required();
  init->add_option("--storage", storage, "the storage replicas, likewise; more are added with storage add")
      ->delimiter(',');
  init->add_option("--write-quorum", write_quorum, "of the journal nodes (default: more than half)");
  for (CLI::App* command :
       {status, check, members, cluster_status, transfer, add, remove, replace, register_storage, unregister_storage})
    command->add_flag("--json", json, "print one JSON object");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    fprintf(stderr, "concordctl: %s\nRun with --help for more information.\n", config.Explain(error).c_str());
    return kExitUsage;
  }
  // What goes wrong with a connection is said by who wanted it.
  gpr_set_log_function([](gpr_log_func_args*) {});
  if (tls.any()) {
    if (const Status s = UseTls(tls, [](const Status&) {}); !s.ok()) return Failed(s);
  }
  if (cluster->parsed() || leader->parsed() || journal_command->parsed() || storage_command->parsed()) {
    InitRpc();
    if (init->parsed()) return InitCluster(metastore, cluster_id, journal, storage, write_quorum);
    if (replace->parsed()) {
      edit.add = {replacement};
      edit.remove = {replaced};
    }
    if (journal_command->parsed()) return ChangeJournal(metastore, cluster_id, edit, json);
    if (register_storage->parsed()) return AddStorage(metastore, cluster_id, storage_add, json);
    if (unregister_storage->parsed()) return RemoveStorage(metastore, cluster_id, storage_remove, json);
    if (transfer->parsed()) return TransferLead(metastore, cluster_id, json);
    return (members->parsed() ? ShowMembers : ShowCluster)(metastore, cluster_id, json);
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
