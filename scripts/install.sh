#!/bin/bash
# install.sh [--remove] BUILD_DIR PG_BIN: puts the libraries, concordd and the extension's SQL where Postgres looks, and the unit of concordd
# where systemd does.
set -euo pipefail
remove=
if [ "$1" = --remove ]; then remove=1; shift; fi
build=$1 pgbin=$2
here=$(cd "$(dirname "$0")/.." && pwd)
lib=$("$pgbin/pg_config" --pkglibdir)
share=$("$pgbin/pg_config" --sharedir)/extension
sample=$("$pgbin/pg_config" --sharedir)/concord.conf.sample
dashboard=$("$pgbin/pg_config" --sharedir)/concord-grafana.json
unit=/usr/local/lib/systemd/system/concordd@.service
if [ -n "$remove" ]; then
  $SUDO rm -f "$lib"/concord.so "$lib"/concord_gateway.so "$lib"/concordd "$pgbin"/concordctl "$share"/concord.control "$share"/concord--*.sql "$sample" "$dashboard" "$unit"
  exit 0
fi
# rename, not overwrite: a running server keeps the library that it has mapped
put() { $SUDO install -m "$1" "$2" "$3.new" && $SUDO mv "$3.new" "$3"; }
put 755 "$build/extension/concord.so" "$lib/concord.so"
put 755 "$build/extension/concord_gateway.so" "$lib/concord_gateway.so"
put 755 "$build/sidecar/concordd" "$lib/concordd"
put 755 "$build/sidecar/concordctl" "$pgbin/concordctl"
put 644 "$here/config/concord.conf.sample" "$sample"
put 644 "$here/grafana/concord.json" "$dashboard"
$SUDO mkdir -p "$(dirname "$unit")"
sed "s|@concordd@|$lib/concordd|" "$here/systemd/concordd@.service" >"$build/concordd@.service"
put 644 "$build/concordd@.service" "$unit"
for file in "$here"/sql/concord.control "$here"/sql/concord--*.sql; do
  put 644 "$file" "$share/$(basename "$file")"
done
