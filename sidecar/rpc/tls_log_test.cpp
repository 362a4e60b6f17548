// What the log says of connections that TLS has not let come about.
#include "sidecar/rpc/tls_log.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

TEST(TlsFailuresTest, ReasonsInWords) {
  const std::string failed = "Handshake failed with fatal error SSL_ERROR_SSL: error:0A0000C7:SSL routines::";
  EXPECT_EQ(TlsFailures::ReasonOf(failed + "peer did not return a certificate."),
            "the other side shows no certificate (peer did not return a certificate)");
  EXPECT_EQ(TlsFailures::ReasonOf(failed + "something new."), "something new");
  EXPECT_EQ(TlsFailures::ReasonOf("Handshake failed with fatal error SSL_ERROR_SYSCALL."), "SSL_ERROR_SYSCALL");
  EXPECT_EQ(TlsFailures::ReasonOf("No match found for server name: db1.example.org."),
            "the other side's certificate is not for the address db1.example.org");
  EXPECT_EQ(TlsFailures::ReasonOf("epoll fd: 3"), "");
}

TEST(TlsFailuresTest, EachOnceAMinute) {
  TlsFailures failures;
  uint64_t since = 7;
  EXPECT_TRUE(failures.IsDue("a", 0, &since));
  EXPECT_EQ(since, 0u);
  EXPECT_FALSE(failures.IsDue("a", TlsFailures::kAgainUs - 1, &since));
  EXPECT_TRUE(failures.IsDue("b", 1, &since));
  EXPECT_TRUE(failures.IsDue("a", TlsFailures::kAgainUs, &since));
  EXPECT_EQ(since, 1u);
}

TEST(TlsFailuresTest, ReasonsWithoutEndTakeNoMemoryWithoutEnd) {
  TlsFailures failures;
  uint64_t since = 0;
  for (int i = 0; i < 1000; i++) EXPECT_TRUE(failures.IsDue("reason " + std::to_string(i), 1, &since));
  EXPECT_TRUE(failures.IsDue("reason 0", 2, &since)) << "it was forgotten, and may be told again";
}

}  // namespace
}  // namespace concord
