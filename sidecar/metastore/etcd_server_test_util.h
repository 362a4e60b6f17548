// A real etcd for tests: a child process on loopback ports, with its data in a directory of its own. It is killed by
// its pid when the test is done with it, and by the kernel if the test dies.
//
// Not thread-safe; made and started by the test's main thread, whose end the kernel waits for.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace concord {

// A port that nobody listens on, now.
inline int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

class EtcdServer {
 public:
  explicit EtcdServer(std::string name = "etcd") : name_(std::move(name)) {
    std::string pattern = (std::filesystem::temp_directory_path() / "concord-etcd-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  ~EtcdServer() {
    Kill();
    std::filesystem::remove_all(directory_);
  }
  EtcdServer(const EtcdServer&) = delete;
  EtcdServer& operator=(const EtcdServer&) = delete;

  const std::string& directory() const { return directory_; }
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(client_port_); }
  std::string initial_member() const { return name_ + "=http://127.0.0.1:" + std::to_string(peer_port_); }

  // Starts, or starts again on the same data, and waits until it serves. `tls`: arguments; clients need TLS then.
  // Somebody else may have got one of the ports meanwhile: then the first start is tried with others.
  void Start(const std::vector<std::string>& tls = {}) {
    const bool first = !std::filesystem::exists(directory_ + "/data");
    for (int attempt = 0; attempt < (first ? 3 : 1); attempt++) {
      if (attempt > 0) {
        std::filesystem::remove_all(directory_ + "/data");
        client_port_ = FreePort();
        peer_port_ = FreePort();
      }
      Launch(initial_member(), tls);
      if (WaitUntilReady()) return;
    }
    FAIL() << "etcd does not start:\n" << Log();
  }

  // As one of the members of a cluster, which serve when most of them are there.
  void Launch(const std::string& initial_cluster, const std::vector<std::string>& tls = {}) {
    const std::string client = (tls.empty() ? "http://" : "https://") + endpoint();
    const std::string peer = "http://127.0.0.1:" + std::to_string(peer_port_);
    std::vector<std::string> arguments = {"etcd",
                                          "--name=" + name_,
                                          "--data-dir=" + directory_ + "/data",
                                          "--listen-client-urls=" + client,
                                          "--advertise-client-urls=" + client,
                                          "--listen-peer-urls=" + peer,
                                          "--initial-advertise-peer-urls=" + peer,
                                          "--initial-cluster=" + initial_cluster,
                                          "--heartbeat-interval=50",
                                          "--election-timeout=500",
                                          "--logger=zap"};
    arguments.insert(arguments.end(), tls.begin(), tls.end());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int log = open(LogPath().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT_GE(log, 0);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);  // it died before that
      dup2(log, STDOUT_FILENO);
      dup2(log, STDERR_FILENO);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    close(log);
    ASSERT_GT(pid_, 0);
  }

  // False, and it is gone, if it does not come up.
  bool WaitUntilReady() {
    for (int i = 0; i < 3000 && waitpid(pid_, nullptr, WNOHANG) == 0; i++) {
      if (Log().find("serving client traffic ") != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    Kill();
    return false;
  }

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  // Returns when it has stopped, which takes its threads a moment.
  void Pause() {
    kill(pid_, SIGSTOP);
    int status;
    waitpid(pid_, &status, WUNTRACED);
  }
  void Continue() { kill(pid_, SIGCONT); }

 private:
  std::string LogPath() const { return directory_ + "/log"; }
  std::string Log() const {
    std::ostringstream text;
    text << std::ifstream(LogPath()).rdbuf();
    return text.str();
  }

  const std::string name_;
  std::string directory_;
  int client_port_ = FreePort();
  int peer_port_ = FreePort();
  pid_t pid_ = -1;
};

}  // namespace concord
