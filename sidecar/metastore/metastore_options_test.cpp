#include "sidecar/metastore/metastore_options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "sidecar/metastore/atomic_file.h"

namespace concord {
namespace {

MetastoreOptions Parse(const std::string& arguments) {
  MetastoreOptions options;
  CLI::App app;
  options.AddTo(&app);
  app.parse(arguments);
  return options;
}

TEST(MetastoreOptions, AFileIsTheDefault) {
  EXPECT_FALSE(Parse("").etcd());
  EXPECT_FALSE(Parse("--metastore file").etcd());
  EXPECT_TRUE(Parse("").Check().ok());
  EXPECT_EQ(Parse("--metastore-user u").Check().code(), Code::kInvalid);
}

TEST(MetastoreOptions, EndpointsOfAnEtcd) {
  for (const char* arguments : {"--metastore etcd:localhost:1,etcd:127.0.0.1:2,etcd:[::1]:3",
                                "--metastore etcd:localhost:1 --metastore etcd:127.0.0.1:2 --metastore etcd:[::1]:3"}) {
    const MetastoreOptions options = Parse(arguments);
    EXPECT_TRUE(options.etcd());
    ASSERT_TRUE(options.Check().ok());
    EtcdClient::Options client;
    ASSERT_TRUE(options.Read(&client).ok());
    EXPECT_EQ(client.endpoints, (std::vector<std::string>{"localhost:1", "127.0.0.1:2", "[::1]:3"}));
  }
  for (const char* bad : {"etcd", "etcd:", "etcd:host", "etcd:host:", "etcd::1", "etcd:host:port", "etcd:unix:/path:1",
                          "host:1", "file,etcd:host:1", "files"})
    EXPECT_EQ(Parse(std::string("--metastore ") + bad).Check().code(), Code::kInvalid) << bad;
}

TEST(MetastoreOptions, WhatGoesTogether) {
  const std::string etcd = "--metastore etcd:host:1 ";
  EXPECT_TRUE(Parse(etcd + "--metastore-ca a").Check().ok());
  EXPECT_TRUE(Parse(etcd + "--metastore-ca a --metastore-cert c --metastore-key k").Check().ok());
  for (const char* bad : {"--metastore-user u", "--metastore-password-file f", "--metastore-ca a --metastore-cert c",
                          "--metastore-ca a --metastore-key k", "--metastore-cert c --metastore-key k"})
    EXPECT_EQ(Parse(etcd + bad).Check().code(), Code::kInvalid) << bad;
  const Status plain = Parse(etcd).Check();
  EXPECT_EQ(plain.code(), Code::kInvalid) << "off the machine without TLS";
  EXPECT_NE(plain.message().find("see --metastore-ca"), std::string::npos) << plain.message();
}

TEST(MetastoreOptions, FilesAreRead) {
  std::string directory = (std::filesystem::temp_directory_path() / "concord-options-XXXXXX").string();
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  for (const char* name : {"ca", "cert", "key"}) ASSERT_TRUE(MakeFile(directory + "/" + name, name).ok());
  ASSERT_TRUE(MakeFile(directory + "/password", " secret \n").ok());
  const std::string arguments = "--metastore etcd:host:1 --metastore-ca " + directory + "/ca --metastore-cert " +
                                directory + "/cert --metastore-key " + directory +
                                "/key --metastore-user me --metastore-password-file " + directory + "/password";
  EtcdClient::Options client;
  ASSERT_TRUE(Parse(arguments).Read(&client).ok());
  EXPECT_EQ(client.user, "me");
  EXPECT_EQ(client.password, " secret ");
  EXPECT_EQ(client.ca, "ca");
  EXPECT_EQ(client.certificate, "cert");
  EXPECT_EQ(client.key, "key");
  std::filesystem::remove(directory + "/key");
  const Status status = Parse(arguments).Read(&client);
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.message(), directory + "/key does not exist");
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace concord
