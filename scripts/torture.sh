#!/bin/bash
# torture.sh [OPTION...]: crashes under load on a scratch server; the options are those of build/regress/torture/torture. Here, other than
# in the short run of the tests, the time of recovery counts.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
work=$(scratch_directory torture)
server_init "$work"
server_start "$work"
as_user "$pgbin/psql" -X -q -h "$work" -U postgres -d postgres -c 'CREATE EXTENSION concord'
cp "${BUILD:-build}/regress/torture/torture" "$work"/
status=0
(cd "$work" && as_user "$work/torture" --data="$work/data" --bin="$pgbin" --log="$work/server.log" \
  --conninfo="host=$work port=5432 user=postgres dbname=postgres" --promised-ms=2000 "$@") || status=$?
if grep -E 'PANIC|TRAP|terminated by signal (4|6|7|8|11)' "$work/server.log"; then status=1; fi
server_stop "$work" immediate || status=1
if [ $status = 0 ] && [ -z "${KEEP:-}" ]; then rm -rf "$work"; else echo "kept: $work"; fi
exit $status
