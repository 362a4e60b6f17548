# What the scripts here share; sourced by them, in the repository's root. BENCH_SECONDS, BENCH_SCALE, BENCH_ROUNDS, BENCH_CLIENTS
# and BENCH_ROWS change the load.
. scripts/server.sh
seconds=${BENCH_SECONDS:-10} scale=${BENCH_SCALE:-10} rounds=${BENCH_ROUNDS:-3} clients=${BENCH_CLIENTS:-1 16}
rows=${BENCH_ROWS:-1000000}

# bench_server NAME: a scratch server in $dir with the databases concord and heap; it goes with the script
bench_server() {
  dir=$(scratch_directory "$1")
  trap 'server_stop "$dir" || true; rm -rf "$dir"' EXIT
  server_init "$dir"
  server_start "$dir"
  sql postgres -c "CREATE DATABASE concord" -c "CREATE DATABASE heap"
  sql concord -c "CREATE EXTENSION concord" -c "ALTER DATABASE concord SET default_table_access_method = concord"
}

sql() { "$pgbin/psql" -X -q -At -v ON_ERROR_STOP=1 -h "$dir" -U postgres -d "$@"; }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# run_pgbench DATABASE MODE CLIENTS: what it says goes to $dir/pgbench.log. Fails where a transaction does, as what is left out of the
# count would make the rest look fast.
run_pgbench() {
  if ! "$pgbin/pgbench" -h "$dir" -U postgres -n -M prepared $2 -c "$3" -j 2 -T "$seconds" --max-tries=20 "$1" \
    >"$dir/pgbench.log" 2>&1 || ! grep -q '^number of failed transactions: 0 ' "$dir/pgbench.log"; then
    cat "$dir/pgbench.log" >&2
    echo "pgbench $2 with $3 clients on $1: failed, or transactions of it" >&2
    return 1
  fi
}
tps() { # tps DATABASE MODE CLIENTS
  run_pgbench "$@" || return 1
  sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$dir/pgbench.log"
}

# wait_steady: until the replica has applied and checkpointed what is committed, and has nothing left to remove
wait_steady() {
  local before= now=
  for ((try = 0; try < 600; try++)); do
    now=$(sql concord -c "SELECT committed_lsn, applied_lsn, checkpoint_lsn, storage_bytes, dropping FROM concord.status")
    if [ "$now" = "$before" ] && [ "$(cut -d'|' -f1 <<<"$now")" = "$(cut -d'|' -f3 <<<"$now")" ] && [ "${now##*|}" = 0 ]; then
      return
    fi
    before=$now
    sleep 2
  done
  echo "the replica has not come to rest" >&2
  return 1
}
