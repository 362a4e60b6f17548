// What may be listened on and connected to, with and without TLS.
#include "sidecar/rpc/address.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

constexpr const char* kHere[] = {"unix:/run/s", "unix:///run/s", "127.0.0.1:1", "localhost:5555", "[::1]:80"};
constexpr const char* kAway[] = {"0.0.0.0:5555", "[::]:5555", "10.0.0.1:5555", "db1.example.org:5601", "[fe80::1]:1"};
constexpr const char* kNonsense[] = {"",
                                     "unix:",
                                     ":5555",
                                     "127.0.0.1:",
                                     "127.0.0.1:5555,0.0.0.0:5555",
                                     "localhost:80@example.org",
                                     "localhost",
                                     "ipv4:0.0.0.0:1",
                                     "dns:localhost:1",
                                     "vsock:1:2",
                                     "[::1]:1,[::]:2",
                                     "[]:1",
                                     "[::1:80",
                                     "::1:80",
                                     "[x]:1",
                                     "a b:1",
                                     "dns:///localhost:1",
                                     "localhost:1x"};

TEST(AddressTest, WithoutTlsNothingLeavesTheMachine) {
  for (const char* address : kHere) {
    EXPECT_TRUE(CheckListenAddress(address, false).ok()) << address;
    EXPECT_TRUE(CheckPeerAddress(address, false).ok()) << address;
  }
  for (const char* address : kAway) {
    const Status listen = CheckListenAddress(address, false);
    EXPECT_EQ(listen.code(), Code::kInvalid) << address;
    EXPECT_NE(listen.message().find("--tls-ca, --tls-cert and --tls-key"), std::string::npos) << listen.message();
    const Status peer = CheckPeerAddress(address, false);
    EXPECT_EQ(peer.code(), Code::kInvalid) << address;
    EXPECT_NE(peer.message().find("without TLS no other is connected to"), std::string::npos) << peer.message();
  }
}

TEST(AddressTest, WithTlsAnyHostAndPort) {
  for (const auto& addresses : {kHere, kAway}) {
    for (int i = 0; i < 5; i++) {
      EXPECT_TRUE(CheckListenAddress(addresses[i], true).ok()) << addresses[i];
      EXPECT_TRUE(CheckPeerAddress(addresses[i], true).ok()) << addresses[i];
    }
  }
}

TEST(AddressTest, WhatIsNoAddressIsNone) {
  for (const char* address : kNonsense) {
    for (const bool tls : {false, true}) {
      EXPECT_FALSE(CheckListenAddress(address, tls).ok()) << address;
      if (std::string(address) != "unix:") {
        EXPECT_FALSE(CheckPeerAddress(address, tls).ok()) << address;
      }
    }
  }
}

TEST(AddressTest, ASocketOfNoNameIsNotListenedOn) {
  EXPECT_FALSE(CheckListenAddress("unix-abstract:name", true).ok());
  EXPECT_EQ(CheckListenAddress("unix:/" + std::string(107, 'x'), true).code(), Code::kTooLarge);
}

}  // namespace
}  // namespace concord
