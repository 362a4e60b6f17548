#!/bin/bash
# bench.sh: Concord against heap on one server in one run. Both are synced at commit. Each pair runs in turn, BENCH_ROUNDS times;
# medians count.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/common.sh
bench_server bench

cat <<'HEADER'
ratio: how good Concord is beside heap; above 1 is better than heap (tps: concord / heap; ms and MB: heap / concord)

HEADER
# row CASE UNIT CONCORD HEAP [FLOOR]
misses=()
row() {
  awk -v n="$1, $2" -v u="$2" -v c="$3" -v h="$4" -v f="${5:-0}" 'BEGIN {
    r = u == "tps" ? c / h : h / c
    printf "%-58s | %10.0f | %10.0f | %5.2f%s\n", n, c, h, r, r < f ? "  below its floor of " f : ""
    exit r < f}' || misses+=("$1")
}
printf '%-58s | %10s | %10s | %5s\n' case concord heap ratio

# in_turn NAME UNIT FLOOR FUNCTION [ARGUMENT...]: FUNCTION DATABASE ARGUMENT... prints one measurement
in_turn() {
  local name=$1 unit=$2 floor=$3 function=$4 round database
  shift 4
  : >"$dir/concord" >"$dir/heap"
  for ((round = 0; round < rounds; round++)); do
    for database in concord heap; do "$function" "$database" "$@" >>"$dir/$database"; done
  done
  row "$name" "$unit" "$(median <"$dir/concord")" "$(median <"$dir/heap")" "$floor"
}

# What a client waits for, with the first read after it: no work is put off until the clock has stopped.
timed() {
  local database=$1 statement commands=() before
  shift
  for statement; do commands+=(-c "$statement"); done
  before=$(now_ms)
  sql "$database" "${commands[@]}" >/dev/null
  echo $(($(now_ms) - before))
}

# ---- disk ----

tables="pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers"
heap_mb() {
  sql heap -c "VACUUM $tables" -c "SELECT sum(pg_total_relation_size(oid)) / 1048576.0 FROM pg_class WHERE relname LIKE 'pgbench%' AND relkind = 'r'"
}
file_mb() { as_user du -s -B1 "$dir/data/concord/storage" | awk '{print $1 / 1048576}'; }
used_mb() { sql concord -c "SELECT storage_bytes / 1048576.0 FROM concord.status"; }

load() { "$pgbin/pgbench" -h "$dir" -U postgres -i -q -s "$scale" "$1" >/dev/null 2>&1; }
load concord
load heap
wait_steady
row "disk after pgbench -i -s $scale, storage directory" MB "$(file_mb)" "$(heap_mb)" 0.5

# ---- loads ----

load_ms() {
  local before; before=$(now_ms)
  load "$1"
  echo $(($(now_ms) - before))
}
in_turn "load, pgbench -i -s $scale" ms 0.5 load_ms

columns="aid int, bid int, abalance int, filler char(84)"
sql heap -c "COPY (SELECT i, 1, 0, '' FROM generate_series(1, $rows) i) TO '$dir/rows'"
new_table() { sql "$1" -c "DROP TABLE IF EXISTS copied" -c "CREATE TABLE copied($columns$2)" 2>/dev/null; }
copy_into_table() {
  new_table "$1" ", PRIMARY KEY (aid)"
  timed "$1" "COPY copied FROM '$dir/rows'" "SELECT * FROM copied WHERE aid = $rows"
}
copy_into_new() {
  new_table "$1" ""
  timed "$1" BEGIN "TRUNCATE copied" "COPY copied FROM '$dir/rows'" COMMIT "SELECT * FROM copied LIMIT 1"
}
index_ms() {
  sql "$1" -c "DROP INDEX IF EXISTS copied_index" 2>/dev/null
  timed "$1" "CREATE INDEX copied_index ON copied(aid)" "SELECT aid FROM copied WHERE aid = $rows"
}
in_turn "COPY of $rows rows, with a primary key made before" ms 0.5 copy_into_table
in_turn "COPY of $rows rows, truncated in the same transaction" ms 0.5 copy_into_new
in_turn "CREATE INDEX on $rows rows" ms 0 index_ms
for database in concord heap; do sql "$database" -c "DROP TABLE copied"; done

# ---- queries ----

query_ms() {
  sql "$1" -c "SET max_parallel_workers_per_gather = 0" -c "SET enable_seqscan = $2" -c "\\timing on" -c "$3" |
    sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1
}
for database in concord heap; do sql "$database" -c "VACUUM ANALYZE pgbench_accounts"; done
in_turn "full scan, sum of a column" ms 0.8 query_ms on "SELECT sum(abalance) FROM pgbench_accounts"
in_turn "full scan, count" ms 0 query_ms on "SELECT count(*) FROM pgbench_accounts"
in_turn "index-only count" ms 0 query_ms off "SELECT count(*) FROM pgbench_accounts WHERE aid > 0"
in_turn "index range, 100000 rows" ms 0 query_ms off "SELECT sum(abalance) FROM pgbench_accounts WHERE aid BETWEEN 1000 AND 101000"

# ---- transactions ----

floor() { case "$1 $2" in "-S "*) echo 0.8 ;; "-N 16") echo 0.5 ;; *) echo 0 ;; esac; }
for count in $clients; do
  for mode in -S -N "-b tpcb-like"; do
    in_turn "pgbench $mode, clients: $count" tps "$(floor "$mode" "$count")" tps "$mode" "$count"
  done
done

wait_steady
row "disk at the end, after VACUUM; pages in use" MB "$(used_mb)" "$(heap_mb)" 0.5
row "disk at the end, after VACUUM; with pages free for reuse" MB "$(file_mb)" "$(heap_mb)"
if [ ${#misses[@]} -gt 0 ]; then
  printf '\n%d below their floors:\n' ${#misses[@]}
  printf '  %s\n' "${misses[@]}"
  exit 1
fi
