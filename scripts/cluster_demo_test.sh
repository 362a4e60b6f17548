#!/bin/bash
# cluster_demo_test.sh: the cluster's demo in small: it says that nothing was lost, what it says to connect with works, and stop ends what it has
# started. Exit status 0 if so; what failed is printed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CONCORD_DEMO_SCALE=1 CONCORD_DEMO_SECONDS=3
XDG_RUNTIME_DIR=$(mktemp -d); export XDG_RUNTIME_DIR # a demo that somebody has running is left alone
log=$XDG_RUNTIME_DIR/log failed=0
complain() { echo "cluster-demo: $*"; failed=1; }

scripts/cluster_demo.sh start >"$log" 2>&1 || { tail -20 "$log"; complain "it does not start"; }
dir=$(cat "$XDG_RUNTIME_DIR/concord-cluster-demo-$(id -u)" 2>/dev/null)
pids=$(cat "$dir"/*.pid 2>/dev/null)
if [ $failed = 0 ]; then
  grep -q "nothing was lost" "$log" || complain "it does not say that nothing was lost"
  [ "$(grep -c 'kill -9 of' "$log")" = 2 ] || complain "nothing was killed"
  [ "$(wc -w <<<"$pids")" = 11 ] || complain "it has other members than it says"
  psql=$(sed -n 's/^    \(.*psql -h .*\)$/\1/p' "$log")
  [ "$($psql -XAtc 'SELECT count(*) FROM pgbench_accounts' 2>&1)" = 100000 ] || complain "\"$psql\" does not connect to its rows"
fi
scripts/cluster_demo.sh stop >>"$log" 2>&1 || { tail -5 "$log"; complain "it does not stop"; }
[ -z "$dir" ] || [ ! -e "$dir" ] || complain "$dir is still there"
for pid in $pids; do [ -z "$(readlink "/proc/$pid/exe")" ] || complain "process $pid still runs"; done
rm -rf "$XDG_RUNTIME_DIR"
exit $failed
