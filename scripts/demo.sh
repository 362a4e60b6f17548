#!/bin/bash
# demo.sh start|stop: a scratch server whose tables are Concord tables, with pgbench beside heap on the same server.
# The server stays until `make demo-stop`. CONCORD_DEMO_SCALE and CONCORD_DEMO_SECONDS change the load.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
scale=${CONCORD_DEMO_SCALE:-10} seconds=${CONCORD_DEMO_SECONDS:-5}
kind=demo
. scripts/demo_steps.sh

start() {
  if [ -e "$state" ] || [ -L "$state" ]; then demo_stop server_stop; fi
  demo_prepare
  step "starting a PostgreSQL server on a unix socket in $dir"
  server_init "$dir"
  server_start "$dir"
  local psql=("$pgbin/psql" -X -q -h "$dir" -U postgres)
  "${psql[@]}" -d postgres -c "CREATE DATABASE demo" -c "CREATE DATABASE heap"
  "${psql[@]}" -d demo -c "CREATE EXTENSION concord" -c "ALTER DATABASE demo SET default_table_access_method = concord"

  local db
  for db in demo heap; do
    step "pgbench -i -s $scale into database $db ($([ $db = demo ] && echo Concord || echo heap) tables)"
    "$pgbin/pgbench" -h "$dir" -U postgres -i -q -s "$scale" "$db" 2>&1 | grep -v NOTICE
  done
  step "pgbench, 8 clients, $seconds s each: transactions per second"
  printf '%-28s %12s %12s\n' "" concord heap
  local mode name sums tps=()
  for mode in "" -N -S; do
    case $mode in "") name="TPC-B (hot branch rows)" ;; -N) name="simple update (-N)" ;; -S) name="select only (-S)" ;; esac
    tps=()
    for db in demo heap; do
      "$pgbin/pgbench" -h "$dir" -U postgres -n $mode -c 8 -j 2 -T "$seconds" --max-tries=20 "$db" >"$dir/pgbench.log" 2>&1 ||
        { cat "$dir/pgbench.log" >&2; die "pgbench $mode failed on $db"; }
      tps+=("$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$dir/pgbench.log")")
    done
    printf '%-28s %12s %12s\n' "$name" "${tps[@]}"
    # simple update leaves tellers and branches out, so the sums are taken after TPC-B
    [ -n "$mode" ] || sums=$("${psql[@]}" -d demo -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS accounts,
      (SELECT sum(tbalance) FROM pgbench_tellers) AS tellers, (SELECT sum(bbalance) FROM pgbench_branches) AS branches,
      (SELECT sum(delta) FROM pgbench_history) AS history")
  done
  step "sums of all balances after TPC-B on Concord: all the same"
  echo "$sums"
  step "the state of the parts"
  "${psql[@]}" -d demo -c "\\x on" -c "SELECT * FROM concord.status"
  step "ready"
  cat <<TEXT
The server is running. Connect with
    $pgbin/psql -h $dir -U postgres demo
and end it with
    make demo-stop
TEXT
}

case ${1:-} in start) start ;; stop) demo_stop server_stop ;; *) echo "usage: demo.sh start|stop" >&2; exit 2 ;; esac
