#!/bin/bash
# recovery.sh: how fast the replica replays the journal, and what a checkpoint every second costs. Exit status 1 where less is reached than
# is asked for.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/common.sh
bench_server recovery

# sidecar OPTION...: restarts the server with concordd under these options. Nothing is trimmed from the journal meanwhile.
sidecar() {
  as_user tee "$dir/concordd" >/dev/null <<SCRIPT
#!/bin/sh
exec "$("$pgbin/pg_config" --pkglibdir)/concordd" "\$@" --journal-retention-ms=86400000 $*
SCRIPT
  chmod 755 "$dir/concordd"
  sql postgres -c "ALTER SYSTEM SET concord.daemon_path = '$dir/concordd'"
  server_stop "$dir"
  server_start "$dir"
}

# ---- replay ----

updated=

# keep: a copy of the storage directory of the stopped server. replay: goes back to it, and waits until all is applied again.
keep() {
  wait_steady
  server_stop "$dir"
  as_user cp -a "$dir/data/concord/storage" "$dir/kept"
  server_start "$dir"
}
replay_ms() {
  local target before
  target=$(sql concord -c "SELECT committed_lsn FROM concord.status")
  server_stop "$dir"
  as_user rm -rf "$dir/data/concord/storage"
  as_user mv "$dir/kept" "$dir/data/concord/storage"
  before=$(now_ms)
  server_start "$dir"
  until [ "$(sql concord -c "SELECT applied_lsn >= '$target' FROM concord.status")" = t ]; do sleep 0.02; done
  echo $(($(now_ms) - before))
}
# report CASE MUTATIONS MS
floor=100000
misses=()
report() {
  awk -v n="$1" -v m="$2" -v t="$3" -v f="$floor" 'BEGIN {
    r = m * 1000 / t
    printf "%-58s | %9d mutations in %6d ms: %8.0f per second%s\n", n, m, t, r, r < f ? "  below its floor of " f : ""
    exit r < f}' || misses+=("$1")
}

echo
echo "replay, with the start of the server in the time; at least $floor mutations per second are asked for"
sidecar
sql concord -c "CREATE TABLE loaded(aid int PRIMARY KEY, filler char(84))"
keep
sql concord -c "INSERT INTO loaded SELECT i, '' FROM generate_series(1, $rows) i"
took=$(replay_ms)
report "replay of an INSERT of $rows rows with a primary key" $((rows * 2)) "$took"
"$pgbin/pgbench" -h "$dir" -U postgres -i -q -s "$scale" concord >"$dir/pgbench.log" 2>&1 || { cat "$dir/pgbench.log" >&2; exit 1; }
keep
for ((i = 0; i < 20; i++)); do
  printf '\\set a%d random(1, 100000 * :scale)\n' "$i"
  updated+=":a$i, "
done >"$dir/script"
echo "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN (${updated%, });" >>"$dir/script"
run_pgbench concord "-f $dir/script -s $scale" 16
updates=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$dir/pgbench.log")
took=$(replay_ms)
report "replay of updates of random rows, 20 a transaction" $((updates * 20)) "$took"

# ---- checkpoints ----

# A server with checkpoints each second and one that takes none while it is measured, in turn.
: >"$dir/often" >"$dir/never"
for ((round = 0; round < rounds; round++)); do
  sidecar --checkpoint-bytes=1000000000000
  for interval in often never; do
    [ "$interval" = often ] && ms=1000 || ms=3600000
    sql postgres -c "ALTER SYSTEM SET concord.checkpoint_interval = $ms"
    server_stop "$dir"
    server_start "$dir"
    tps concord -N 16 >>"$dir/$interval"
  done
done
checkpoints="pgbench -N, 16 clients, a checkpoint each second"
awk -v c="$checkpoints" -v o="$(median <"$dir/often")" -v n="$(median <"$dir/never")" 'BEGIN {
  cost = (n - o) * 100 / n
  printf "%-58s | %9.0f tps, without %.0f tps: costs %.1f %%, less than 5 %% are asked for\n", c, o, n, cost
  exit cost >= 5}' || misses+=("$checkpoints")
if [ ${#misses[@]} -gt 0 ]; then
  printf 'not what is asked for: %s\n' "${misses[@]}" >&2
  exit 1
fi
