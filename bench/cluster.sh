#!/bin/bash
# cluster.sh: Concord on a cluster of this machine (etcd, and for each of three machines a process with a journal node, a storage replica and an
# adjudicator; two journal nodes must have synced; the server reads the leader's replica) against heap with two synchronous standbys, of which one
# must have synced (ANY 1). Both keep what was committed when any one machine is lost. Each pair runs in turn, BENCH_ROUNDS times; medians count.
# Then the leader is killed, with the journal node and the replica in its process, BENCH_FAILOVERS times under load.
set -euo pipefail
cd "$(dirname "$0")/.."
BENCH_SCALE=${BENCH_SCALE:-32} BENCH_CLIENTS=${BENCH_CLIENTS:-1 16 32}
. bench/common.sh
. scripts/cluster.sh
failovers=${BENCH_FAILOVERS:-20} floor=1.0

dir=$(scratch_directory bench-cluster)
stop_all() {
  local server
  for server in concord heap standby1 standby2; do server_stop "$dir/$server" immediate || true; done
  cluster_stop "$dir" || true
  rm -rf "$dir"
}
trap stop_all EXIT

# sql and pgbench of common.sh know one server: here each database has its own.
on() { local server=$1; shift; (dir=$dir/$server; "$@"); }
directory() { as_user mkdir -m 700 "$dir/$1"; }

directory concord
cluster_init_machines "$dir" 1 3
cluster_await_well "$dir"  # there is a leader
SERVER_CONF=$(cluster_server_conf "$dir" "$(cluster_leader "$dir")") server_init "$dir/concord"
server_start "$dir/concord"
on concord sql postgres -c "CREATE DATABASE concord"
on concord sql concord -c "CREATE EXTENSION concord" -c "ALTER DATABASE concord SET default_table_access_method = concord"

directory heap
SERVER_CONF="shared_preload_libraries = ''
synchronous_standby_names = 'ANY 1 (standby1, standby2)'
max_wal_size = 4GB" server_init "$dir/heap"
server_start "$dir/heap"
for standby in standby1 standby2; do
  directory "$standby"
  in_directory "$dir" "$pgbin/pg_basebackup" -h "$dir/heap" -U postgres -D "$dir/$standby/data" -c fast -R
  as_user tee -a "$dir/$standby/data/postgresql.auto.conf" >/dev/null <<CONF
unix_socket_directories = '$dir/$standby'
primary_conninfo = 'host=$dir/heap user=postgres application_name=$standby'
CONF
  server_start "$dir/$standby"
done
on heap sql postgres -c "CREATE DATABASE heap"

for server in concord heap; do
  on "$server" "$pgbin/pgbench" -h "$dir/$server" -U postgres -i -q -s "$scale" "$server" >/dev/null 2>&1
  on "$server" sql "$server" -c "VACUUM ANALYZE"
done
[ "$(on heap sql heap -c "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'")" = 2 ] ||
  { echo "the standbys do not follow" >&2; exit 1; }
on concord wait_steady

echo "case | concord | syncrep | ratio"
missed=0
compare() { # compare CASE MODE CLIENTS
  local round server
  : >"$dir/concord.tps" >"$dir/heap.tps"
  for ((round = 0; round < rounds; round++)); do
    for server in concord heap; do on "$server" tps "$server" "$2" "$3" >>"$dir/$server.tps"; done
  done
  awk -v n="$1" -v c="$(median <"$dir/concord.tps")" -v h="$(median <"$dir/heap.tps")" -v f=$floor 'BEGIN {
    printf "%s | %.0f | %.0f | %.2f%s\n", n, c, h, c / h, c / h < f ? "  below its floor of " f : ""; exit c / h < f}' || missed=1
}
for count in $clients; do
  compare "simple-update-c$count" -N "$count"
  compare "tpcb-c$count" "-b tpcb-like" "$count"
done

# From a kill to the next commit: the longest time without one that the kill is in, of four clients.
failover_ms() {
  local leader log=$dir/failover.log begin
  cluster_await_well "$dir"  # or two of three would be away
  leader=$(cluster_leader "$dir")
  rm -f "$log"*
  in_directory "$dir" "$pgbin/pgbench" -h "$dir/concord" -U postgres -n -N -c 4 -j 1 -T 6 --max-tries=20 -l --log-prefix="$log" concord >/dev/null 2>&1 &
  begin=$!
  sleep 2
  cluster_kill "$dir" "$leader"
  wait "$begin" || return 1
  cluster_start "$dir" "$leader"
  # Columns 5 and 6: when the transaction ended, in seconds and microseconds.
  cat "$log"* | awk '{printf "%.0f\n", $5 * 1000 + $6 / 1000}' | sort -n |
    awk 'NR > 1 && $1 - last > most {most = $1 - last} {last = $1} END {print most}'
}
if [ "$failovers" -gt 0 ]; then
  for ((i = 0; i < failovers; i++)); do failover_ms; done | sort -n >"$dir/failovers"
  echo "fail-over, ms without a commit: median $(median <"$dir/failovers"), worst $(tail -1 "$dir/failovers") of $failovers"
fi
exit $missed
