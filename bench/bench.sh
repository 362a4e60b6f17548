#!/bin/bash
# bench.sh: Concord against heap on one server in one run, as ratios. Each pair runs in turn, ROUNDS times; medians count.
# BENCH_SECONDS, BENCH_SCALE, BENCH_ROUNDS, BENCH_CLIENTS change the load.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
seconds=${BENCH_SECONDS:-10} scale=${BENCH_SCALE:-10} rounds=${BENCH_ROUNDS:-3} clients=${BENCH_CLIENTS:-1 16}
dir=$(scratch_directory bench)
trap 'server_stop "$dir" || true; rm -rf "$dir"' EXIT
server_init "$dir"
server_start "$dir"
sql() { "$pgbin/psql" -X -q -At -h "$dir" -U postgres -d "$@"; }
sql postgres -c "CREATE DATABASE concord" -c "CREATE DATABASE heap"
sql concord -c "CREATE EXTENSION concord" -c "ALTER DATABASE concord SET default_table_access_method = concord"

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
row() { awk -v n="$1" -v c="$2" -v h="$3" -v u="$4" 'BEGIN {printf "%-34s %12.0f %12.0f %8s %6.2f\n", n, c, h, u, c / h}'; }
printf '%-34s %12s %12s %8s %6s\n' "" concord heap unit ratio

load_ms() {
  local before; before=$(date +%s%N)
  "$pgbin/pgbench" -h "$dir" -U postgres -i -q -s "$scale" "$1" >/dev/null 2>&1
  echo $((($(date +%s%N) - before) / 1000000))
}
concord_load=$(load_ms concord) heap_load=$(load_ms heap)
row "load, pgbench -i -s $scale (lower wins)" "$concord_load" "$heap_load" ms

tps() {
  "$pgbin/pgbench" -h "$dir" -U postgres -n -M prepared $2 -c "$3" -j 2 -T "$seconds" --max-tries=20 "$1" 2>/dev/null |
    sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}
for count in $clients; do
  for mode in "-b tpcb-like" -N -S; do
    : >"$dir/c"; : >"$dir/h"
    for ((round = 0; round < rounds; round++)); do
      tps concord "$mode" "$count" >>"$dir/c"
      tps heap "$mode" "$count" >>"$dir/h"
    done
    row "pgbench $mode, $count clients" "$(median <"$dir/c")" "$(median <"$dir/h")" tps
  done
done

query_ms() {
  local i
  for ((i = 0; i < rounds; i++)); do
    sql "$1" -c "SET max_parallel_workers_per_gather = 0" -c "\\timing on" -c "$2" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1
  done | median
}
while IFS='|' read -r name query; do
  row "$name (lower wins)" "$(query_ms concord "$query")" "$(query_ms heap "$query")" ms
done <<'QUERIES'
count of all rows|SELECT count(*) FROM pgbench_accounts
sum over all rows|SELECT sum(abalance) FROM pgbench_accounts
index range, 100,000 rows|SELECT sum(abalance) FROM pgbench_accounts WHERE aid BETWEEN 1000 AND 101000
QUERIES
