// Who gets through to a listener, over real connections; and certificates that change while it runs.
#include "sidecar/rpc/credentials.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "sidecar/rpc/server.h"
#include "sidecar/rpc/sidecar_service.h"
#include "sidecar/rpc/tls_test_util.h"

namespace concord {
namespace {

constexpr auto kSoon = std::chrono::seconds(60);  // for what takes a moment

std::unique_ptr<Credentials> Load(const TlsFiles& files) {
  std::unique_ptr<Credentials> credentials;
  const Status status = Credentials::Load(files, &credentials);
  EXPECT_TRUE(status.ok()) << status.message();
  return credentials;
}

class Server {
 public:
  explicit Server(const Credentials& credentials) {
    grpc::ServerBuilder builder;
    SetServerLimits(&builder);
    builder.AddListeningPort("127.0.0.1:0", credentials.ForListener("127.0.0.1:0"), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int port_ = 0;
  SidecarService service_{proto::Info()};
  std::unique_ptr<grpc::Server> server_;
};

// A call on a connection of its own; "" if it was answered.
std::string Ask(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kSoon);
  proto::Info info;
  const grpc::Status status = proto::Sidecar::NewStub(channel)->GetInfo(&context, {}, &info);
  EXPECT_NE(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  return status.ok() ? "" : "failed: " + status.error_message();
}

// `name`: as if the address had that host, without asking a name server.
std::string Ask(const Credentials& credentials, const std::string& address, const std::string& name = {}) {
  grpc::ChannelArguments arguments = ChannelLimits();
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (!name.empty()) arguments.SetSslTargetNameOverride(name);
  return Ask(credentials.Connect(address, arguments));
}

class CredentialsTest : public testing::Test {
 protected:
  CredentialsTest() { certificates_.MakeCa("foreign"); }

  TestCertificates certificates_;
  const TlsFiles server_files_ = certificates_.Make("server");
  const TlsFiles client_files_ = certificates_.Make("client");
};

TEST_F(CredentialsTest, BothSidesShowACertificateOfTheCa) {
  const auto ours = Load(server_files_), client = Load(client_files_);
  const auto strange = Load(certificates_.Make("stranger", "foreign"));
  const Server server(*ours), strange_server(*strange), plain_server{Credentials()};
  EXPECT_EQ(Ask(*client, server.address()), "");
  EXPECT_NE(Ask(*client, strange_server.address()).find("certificate verify failed"), std::string::npos);
  EXPECT_NE(Ask(*client, plain_server.address()).find("wrong version number"), std::string::npos);
  EXPECT_NE(Ask(*strange, server.address()), "");
  EXPECT_NE(Ask(Credentials(), server.address()), "");
  EXPECT_EQ(Ask(*client, server.address()), "") << "none of them has disturbed it";
}

// A stranger that believes the server, and would get in if that only encrypted.
TEST_F(CredentialsTest, TheServerAsksForACertificateItself) {
  const auto ours = Load(server_files_);
  const Server server(*ours);
  const auto read = [](const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const TlsFiles strange = certificates_.Make("stranger", "foreign");
  const TlsFiles expired = certificates_.Make("expired", "ca", "IP:127.0.0.1", -1);
  grpc::SslCredentialsOptions options{read(server_files_.ca), "", ""};
  const auto connect = [&] { return grpc::CreateCustomChannel(server.address(), grpc::SslCredentials(options), {}); };
  EXPECT_NE(Ask(connect()), "") << "no certificate";
  options = {read(server_files_.ca), read(strange.key), read(strange.certificate)};
  EXPECT_NE(Ask(connect()), "") << "another CA's";
  options = {read(server_files_.ca), read(expired.key), read(expired.certificate)};
  EXPECT_NE(Ask(connect()), "") << "an expired one";
  options = {read(server_files_.ca), read(client_files_.key), read(client_files_.certificate)};
  EXPECT_EQ(Ask(connect()), "") << "but for that it does get in";
}

TEST_F(CredentialsTest, TheServersCertificateIsForItsAddress) {
  const auto client = Load(client_files_), here = Load(server_files_);
  const auto elsewhere = Load(certificates_.Make("elsewhere", "ca", "IP:127.0.0.2,DNS:db2.example.org"));
  const auto named = Load(certificates_.Make("named", "ca", "DNS:db1.example.org"));
  const Server server(*here), wrong(*elsewhere), by_name(*named);
  EXPECT_NE(Ask(*client, wrong.address()).find("Hostname Verification Check failed"), std::string::npos);
  EXPECT_NE(Ask(*client, server.address(), "db1.example.org"), "");
  EXPECT_EQ(Ask(*client, by_name.address(), "db1.example.org"), "");
  EXPECT_NE(Ask(*client, by_name.address(), "db2.example.org"), "");
}

TEST_F(CredentialsTest, ASocketIsPlainAndTheRestIsNot) {
  const auto client = Load(client_files_);
  EXPECT_TRUE(client->tls());
  const std::string path = "unix:" + certificates_.directory() + "socket";
  grpc::ServerBuilder builder;
  builder.AddListeningPort(path, client->ForListener(path));
  SidecarService service{proto::Info()};
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  EXPECT_EQ(Ask(*client, path), "");
  EXPECT_EQ(Ask(Credentials(), path), "");
}

TEST_F(CredentialsTest, NothingGoesOffTheMachineInPlainText) {
  const Credentials plain;
  for (const char* address : {"10.0.0.1:5555", "db1.example.org:1", "dns:///localhost:1", "0.0.0.0:1"})
    EXPECT_NE(Ask(plain, address).find("is neither unix:/path nor "), std::string::npos) << address;
}

class RotationTest : public CredentialsTest {
 protected:
  void Copy(const TlsFiles& from, const TlsFiles& to) {
    certificates_.Shell("cp " + from.key + " " + to.key);
    certificates_.Shell("cp " + from.certificate + " " + to.certificate);
  }
  bool BecomesTrue(const std::function<bool()>& condition) {
    for (const auto end = std::chrono::steady_clock::now() + kSoon; std::chrono::steady_clock::now() < end;) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }
};

TEST_F(RotationTest, NewFilesCountForNewConnections) {
  const auto ours = Load(server_files_);
  const Server server(*ours);
  const auto client = Load(client_files_);
  const auto old_channel = client->Connect(server.address(), ChannelLimits());
  ASSERT_EQ(Ask(old_channel), "");

  // The server moves to another CA: clients of the old one still know it by the CA file, which has both.
  bool changed = true;
  ASSERT_TRUE(ours->LookAgain(&changed).ok());
  EXPECT_FALSE(changed);
  certificates_.MakeCa("next");
  const TlsFiles next_server = certificates_.Make("next_server", "next"),
                 next_client = certificates_.Make("next_client", "next");
  certificates_.Shell("cat " + certificates_.directory() + "next.crt " + certificates_.directory() + "foreign.crt >> " +
                      server_files_.ca);
  Copy(next_server, server_files_);
  const Status status = ours->LookAgain(&changed);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(changed);
  const auto fresh_client = Load(next_client);
  EXPECT_TRUE(BecomesTrue([&] { return Ask(*fresh_client, server.address()).empty(); }));
  EXPECT_EQ(Ask(old_channel), "") << "connections that there are go on";

  // And the client by itself, on the same credentials.
  EXPECT_TRUE(client->LookAgain(&changed).ok());
  EXPECT_TRUE(BecomesTrue([&] { return Ask(*client, server.address()).empty(); }));
}

TEST_F(RotationTest, WhatIsNotWholeDoesNotCount) {
  const auto ours = Load(server_files_), client = Load(client_files_);
  const Server server(*ours);
  const TlsFiles fresh = certificates_.Make("fresh");
  bool changed = true;
  for (const std::string& damage :
       {": > " + server_files_.key, ": > " + server_files_.ca, ": > " + server_files_.certificate,
        "rm " + server_files_.key, "cp " + fresh.key + " " + server_files_.key, "chmod 0644 " + server_files_.key}) {
    certificates_.Shell("mkdir -p " + certificates_.directory() + "keep && cp -p " + certificates_.directory() +
                        "*.* " + certificates_.directory() + "keep");
    certificates_.Shell(damage);
    EXPECT_EQ(ours->LookAgain(&changed).code(), Code::kInvalid) << damage;
    EXPECT_FALSE(changed);
    // Longer than gRPC takes to look: what it would make of it must not show.
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    EXPECT_EQ(Ask(*client, server.address()), "") << damage;
    certificates_.Shell("cp -p " + certificates_.directory() + "keep/* " + certificates_.directory());
  }
  EXPECT_TRUE(ours->LookAgain(&changed).ok());
}

}  // namespace
}  // namespace concord
