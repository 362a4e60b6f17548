#!/bin/bash
# Installs the Debian packages that building and testing Concord needs; does nothing where all are there.
# deps.sh source: and those that getting the source of PostgreSQL needs, for postgres_source.sh.
# deps.sh assert: and those that building PostgreSQL from its source needs, for assert_postgres.sh.
set -euo pipefail
packages=(build-essential cmake ninja-build pkg-config git clang libclang-rt-14-dev
  postgresql-15 postgresql-client-15 postgresql-server-dev-15 libipc-run-perl
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libicu-dev liblmdb-dev libxxhash-dev libabsl-dev libspdlog-dev libcli11-dev prometheus-cpp-dev libgtest-dev clang-format clang-tidy
  etcd-server etcd-client openssl libssl-dev systemd spin)
[ "${1:-}" != source ] || packages+=(dpkg-dev)
[ "${1:-}" != assert ] || packages+=(dpkg-dev libxml2-dev liblz4-dev zlib1g-dev valgrind)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} = 0 ] && exit 0
sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A cluster of its own is neither needed nor wanted: tests and demo make scratch ones.
if [ ! -d /etc/postgresql-common ]; then
  $sudo mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
# Nor does anybody need etcd as a service: the tests start their own. One that is there already is left as it is.
etcd_is_new=
if [[ " ${missing[*]} " == *" etcd-server "* ]]; then
  etcd_is_new=yes
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap '$sudo rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\ncase " $* " in *" etcd "* | *" etcd.service "*) exit 101 ;; esac\n' |
      $sudo tee /usr/sbin/policy-rc.d >/dev/null
    $sudo chmod 755 /usr/sbin/policy-rc.d
  fi
fi
echo "  apt-get update: the lists of packages"
$sudo apt-get update -qq
echo "  apt-get install: ${#missing[@]} packages and what they need (a few minutes if there are many)"
# The server and its headers must be of one minor version, so name the installed server too.
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  "${missing[@]}" postgresql-15 postgresql-client-15 </dev/null >/dev/null
[ -z "$etcd_is_new" ] || $sudo update-rc.d etcd disable >/dev/null
