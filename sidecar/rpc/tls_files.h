// The three PEM files by which a process of Concord proves who it is, and others prove it to it: the certificates of
// the cluster's CA, a certificate signed by that (with those between, if there are any), and its key. Looked at as a
// whole, so that a mistake is told with the file's name when they are read, and not by a peer that hangs up.
#pragma once

#include <string>

#include "core/status.h"

namespace concord {

// What the files hold; all PEM.
struct TlsMaterial {
  std::string ca;
  std::string identity;  // certificate and key, of one moment

  bool operator==(const TlsMaterial&) const = default;
};

struct TlsFiles {
  std::string ca, certificate, key;

  bool any() const { return !ca.empty() || !certificate.empty() || !key.empty(); }

  // kInvalid, with the reason, if one is missing, cannot be read, or is of no use; if others can read the key; if it is
  // not the certificate's; if the certificate is not of this CA, or its time has not come or is over.
  Status Load(TlsMaterial* material) const;
};

}  // namespace concord
