// Certificates for tests: made by openssl in a directory of their own, as docs/operations.md tells users to make them.
//
// Not thread-safe.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "sidecar/rpc/tls_files.h"

namespace concord {

class TestCertificates {
 public:
  TestCertificates() {
    std::string pattern = (std::filesystem::temp_directory_path() / "concord-tls-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern + "/";
    MakeCa("ca");
  }
  ~TestCertificates() { std::filesystem::remove_all(directory_); }
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;

  const std::string& directory() const { return directory_; }

  void MakeCa(const std::string& name) { Shell("openssl req -x509 -days 2 " + NewKey(name) + Out(name, ".crt")); }
  // A certificate `name`.crt and its key, for the address 127.0.0.1 if no other is given. It is over with -1 days.
  TlsFiles Make(const std::string& name, const std::string& ca = "ca", const std::string& address = "IP:127.0.0.1",
                int days = 2) {
    Shell("openssl req " + NewKey(name) + " -addext subjectAltName=" + address + Out(name, ".csr"));
    Shell("openssl x509 -req -copy_extensions copy -days " + std::to_string(days) + " -in " + directory_ + name +
          ".csr -CA " + directory_ + ca + ".crt -CAkey " + directory_ + ca + ".key" + Out(name, ".crt"));
    return {directory_ + ca + ".crt", directory_ + name + ".crt", directory_ + name + ".key"};
  }

  void Shell(const std::string& command) {
    EXPECT_EQ(system(("(" + command + ") >>" + directory_ + "log 2>&1").c_str()), 0) << command;
  }

 private:
  std::string NewKey(const std::string& name) const {
    return "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + name + " -keyout " + directory_ +
           name + ".key";
  }
  std::string Out(const std::string& name, const char* ending) const { return " -out " + directory_ + name + ending; }

  std::string directory_;
};

}  // namespace concord
