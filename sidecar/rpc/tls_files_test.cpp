// What is wrong with TLS files is told, with the file's name, before anybody uses them.
#include "sidecar/rpc/tls_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "sidecar/rpc/tls_test_util.h"

namespace concord {
namespace {

class TlsFilesTest : public testing::Test {
 protected:
  // Empty if the files are fine.
  std::string Complaint(const TlsFiles& files) {
    TlsMaterial material;
    const Status status = files.Load(&material);
    EXPECT_TRUE(status.ok() || status.code() == Code::kInvalid) << status.ToString();
    EXPECT_EQ(status.ok(), !material.ca.empty());
    return status.message();
  }
  void ExpectComplaint(const TlsFiles& files, const std::string& file, const std::string& reason) {
    const std::string complaint = Complaint(files);
    EXPECT_NE(complaint.find(file), std::string::npos) << complaint;
    EXPECT_NE(complaint.find(reason), std::string::npos) << complaint;
  }
  void Write(const std::string& path, const std::string& content) { std::ofstream(path) << content; }

  TestCertificates certificates_;
  const TlsFiles good_ = certificates_.Make("good");
};

TEST_F(TlsFilesTest, WholeOnesAreRead) {
  TlsMaterial material;
  const Status status = good_.Load(&material);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(material.ca.rfind("-----BEGIN CERTIFICATE-----", 0), 0u);
  EXPECT_NE(material.identity.find("-----BEGIN CERTIFICATE-----"), std::string::npos);
  EXPECT_NE(material.identity.find("PRIVATE KEY-----"), std::string::npos);
}

TEST_F(TlsFilesTest, AllThreeAreNeeded) {
  for (std::string TlsFiles::*file : {&TlsFiles::ca, &TlsFiles::certificate, &TlsFiles::key}) {
    TlsFiles files = good_;
    files.*file = "";
    ExpectComplaint(files, "", "go together");
    files.*file = "/nowhere/x.pem";
    ExpectComplaint(files, "/nowhere/x.pem", "No such file");
    files.*file = certificates_.directory();
    ExpectComplaint(files, certificates_.directory(), "not a regular file");
    files.*file = certificates_.directory() + "junk";
    for (const char* content : {"", "junk", "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n"}) {
      Write(files.*file, content);
      chmod((files.*file).c_str(), 0600);
      ExpectComplaint(files, files.*file, "PEM");
    }
  }
}

TEST_F(TlsFilesTest, TheKeyIsNobodyElses) {
  for (const mode_t mode : {0640, 0604, 0644, 0620, 0601}) {
    ASSERT_EQ(chmod(good_.key.c_str(), mode), 0);
    ExpectComplaint(good_, good_.key, "can be reached by others");
  }
  for (const mode_t mode : {0600, 0400}) {
    ASSERT_EQ(chmod(good_.key.c_str(), mode), 0);
    EXPECT_EQ(Complaint(good_), "");
  }
  if (geteuid() != 0) return;
  ASSERT_EQ(chown(good_.key.c_str(), 1, 1), 0);
  ExpectComplaint(good_, good_.key, "belongs to neither");
}

TEST_F(TlsFilesTest, KeyAndCertificateAndCaBelongTogether) {
  TlsFiles files = good_;
  files.key = certificates_.Make("another").key;
  ExpectComplaint(files, files.key, "does not belong to the certificate file " + files.certificate);
  certificates_.MakeCa("foreign");
  files = certificates_.Make("stranger", "foreign");
  EXPECT_EQ(Complaint(files), "");
  files.ca = good_.ca;
  ExpectComplaint(files, files.certificate, "not valid by the CA file " + good_.ca + ": unable to get local issuer");
}

TEST_F(TlsFilesTest, ItsTimeCounts) {
  const TlsFiles files = certificates_.Make("old", "ca", "IP:127.0.0.1", -1);
  ExpectComplaint(files, files.certificate, "certificate has expired");
}

TEST_F(TlsFilesTest, ItIsForBothSides) {
  const TlsFiles both = certificates_.Make("both", "ca", "IP:127.0.0.1 -addext extendedKeyUsage=serverAuth,clientAuth");
  EXPECT_EQ(Complaint(both), "");
  const TlsFiles one = certificates_.Make("one", "ca", "IP:127.0.0.1 -addext extendedKeyUsage=serverAuth");
  ExpectComplaint(one, one.certificate, "not for both sides");
}

TEST_F(TlsFilesTest, NobodyIsAskedForAPassphrase) {
  certificates_.Shell("openssl ec -aes256 -passout pass:secret -in " + good_.key + " -out " + good_.key + ".locked");
  TlsFiles files = good_;
  files.key += ".locked";
  chmod(files.key.c_str(), 0600);
  ExpectComplaint(files, files.key, "without a passphrase");
}

TEST_F(TlsFilesTest, ACaBetweenIsSentAlong) {
  certificates_.Shell("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=between -keyout " +
                      certificates_.directory() + "between.key -addext basicConstraints=critical,CA:TRUE -out " +
                      certificates_.directory() + "between.csr");
  certificates_.Shell("openssl x509 -req -copy_extensions copy -days 2 -in " + certificates_.directory() +
                      "between.csr -CA " + certificates_.directory() + "ca.crt -CAkey " + certificates_.directory() +
                      "ca.key -out " + certificates_.directory() + "between.crt");
  TlsFiles leaf = certificates_.Make("leaf", "between");
  leaf.ca = good_.ca;
  ExpectComplaint(leaf, leaf.certificate, "unable to get local issuer");
  certificates_.Shell("cat " + certificates_.directory() + "leaf.crt " + certificates_.directory() + "between.crt > " +
                      certificates_.directory() + "chain.crt");
  leaf.certificate = certificates_.directory() + "chain.crt";
  EXPECT_EQ(Complaint(leaf), "");
}

}  // namespace
}  // namespace concord
