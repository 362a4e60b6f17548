#include "sidecar/rpc/tls_files.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace concord {
namespace {

constexpr size_t kFileMax = 1 << 20;

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

void FreeChain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }
using Chain = std::unique_ptr<STACK_OF(X509), Freed<FreeChain>>;

Status Invalid(const std::string& what) { return {Code::kInvalid, "TLS: " + what}; }

// As PostgreSQL asks of ssl_key_file: the user's own and nobody else's to read, or root's and a group's.
Status CheckPrivate(const std::string& path, const struct stat& info) {
  if (info.st_uid != geteuid() && info.st_uid != 0)
    return Invalid("the key file " + path + " belongs to neither this process' user nor root");
  const mode_t others = info.st_uid == geteuid() ? S_IRWXG | S_IRWXO : S_IWGRP | S_IXGRP | S_IRWXO;
  if ((info.st_mode & others) == 0) return Status::Ok();
  return Invalid("the key file " + path +
                 " can be reached by others; its mode must be 0600, or may be 0640 if root owns it and not this user");
}

Status Read(const char* what, const std::string& path, bool secret, std::string* content) {
  const std::string name = std::string("the ") + what + " file " + path;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) return Invalid(name + " cannot be read: " + strerror(errno));
  Status status = S_ISREG(info.st_mode) ? Status::Ok() : Invalid(name + " is not a regular file");
  if (status.ok() && secret) status = CheckPrivate(path, info);
  content->clear();
  char buffer[4096];
  while (status.ok()) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0) status = Invalid(name + " cannot be read: " + strerror(errno));
    if (got <= 0) break;
    content->append(buffer, static_cast<size_t>(got));
    if (content->size() > kFileMax) status = Invalid(name + " is larger than it can be");
  }
  close(fd);
  return status;
}

Bio Over(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// A key that is encrypted would have OpenSSL ask on the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

// All certificates of a text; false if one of them makes no sense.
bool ParseCertificates(const std::string& text, STACK_OF(X509) * to) {
  const Bio bio = Over(text);
  while (X509* const certificate = PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr))
    sk_X509_push(to, certificate);
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  return at_end;
}

// Null: whether `certificate` is one that a certificate of `roots` has signed, by way of `between`, and in its time.
const char* WhyNotValid(STACK_OF(X509) * roots, X509* certificate, STACK_OF(X509) * between) {
  const Store store(X509_STORE_new());
  for (int i = 0; i < sk_X509_num(roots); i++) X509_STORE_add_cert(store.get(), sk_X509_value(roots, i));
  const StoreContext check(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(check.get(), store.get(), certificate, between) != 1) return "out of memory";
  const bool valid = X509_verify_cert(check.get()) == 1;
  ERR_clear_error();
  return valid ? nullptr : X509_verify_cert_error_string(X509_STORE_CTX_get_error(check.get()));
}

}  // namespace

Status TlsFiles::Load(TlsMaterial* material) const {
  if (ca.empty() || certificate.empty() || key.empty())
    return Invalid("a CA file, a certificate file and a key file go together");
  std::string ca_text, certificate_text, key_text;
  Status status = Read("CA", ca, false, &ca_text);
  if (status.ok()) status = Read("certificate", certificate, false, &certificate_text);
  if (status.ok()) status = Read("key", key, true, &key_text);
  if (!status.ok()) return status;

  ERR_clear_error();
  const Chain roots(sk_X509_new_null()), chain(sk_X509_new_null());
  if (!ParseCertificates(ca_text, roots.get()) || sk_X509_num(roots.get()) == 0)
    return Invalid("the CA file " + ca + " is not one or more certificates in PEM");
  if (!ParseCertificates(certificate_text, chain.get()) || sk_X509_num(chain.get()) == 0)
    return Invalid("the certificate file " + certificate + " is not a certificate in PEM");
  const Key secret(PEM_read_bio_PrivateKey(Over(key_text).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (secret == nullptr) return Invalid("the key file " + key + " is not a key in PEM without a passphrase");
  X509* const own = sk_X509_value(chain.get(), 0);
  const bool fits = X509_check_private_key(own, secret.get()) == 1;
  ERR_clear_error();
  if (!fits) return Invalid("the key file " + key + " does not belong to the certificate file " + certificate);
  if (const char* const reason = WhyNotValid(roots.get(), own, chain.get()))
    return Invalid("the certificate file " + certificate + " is not valid by the CA file " + ca + ": " + reason);
  if (X509_check_purpose(own, X509_PURPOSE_SSL_SERVER, 0) != 1 ||
      X509_check_purpose(own, X509_PURPOSE_SSL_CLIENT, 0) != 1)
    return Invalid(
        "the certificate file " + certificate +
        " is not for both sides of a connection: it needs the extended key usages serverAuth and clientAuth, "
        "or none");
  *material = {std::move(ca_text), std::move(certificate_text) + "\n" + std::move(key_text)};
  return Status::Ok();
}

}  // namespace concord
