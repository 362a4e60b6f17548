#!/bin/bash
# cluster_demo.sh start|stop: a whole cluster on this machine: etcd (3), journal nodes (3), adjudicators (2), storage replicas (3) and a
# PostgreSQL server, each a process of its own. Under load the leader and a journal node are killed with -9 and come back; it is shown what
# that costs, and that nothing was lost. The cluster stays until `make cluster-demo-stop`. CONCORD_DEMO_SCALE and CONCORD_DEMO_SECONDS (of each of
# five phases) change the load.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
. scripts/cluster.sh
scale=${CONCORD_DEMO_SCALE:-10} seconds=${CONCORD_DEMO_SECONDS:-6}
kind=cluster
. scripts/demo_steps.sh

stop_all() { server_stop "$1"; cluster_stop "$1"; }

# What happens at the end of the nth phase.
event() {
  case $1 in
    1) killed=$(cluster_leader "$dir"); cluster_kill "$dir" "$killed"; echo "    kill -9 of $killed, the adjudicator that leads" ;;
    2) cluster_start "$dir" "$killed"; echo "    $killed is started again; $(cluster_leader "$dir") leads" ;;
    3) cluster_kill "$dir" j1; echo "    kill -9 of j1, a journal node" ;;
    4) cluster_start "$dir" j1; echo "    j1 is started again, and catches up" ;;
  esac
}

start() {
  if [ -e "$state" ] || [ -L "$state" ]; then demo_stop stop_all; fi
  demo_prepare
  step "starting etcd (3), journal nodes (3), adjudicators (2) and storage replicas (3) in $dir"
  cluster_init "$dir" 3 3 2 3
  step "starting a PostgreSQL server that uses them"
  SERVER_CONF=$(cluster_server_conf "$dir") server_init "$dir"
  server_start "$dir"
  local psql=("$pgbin/psql" -X -q -h "$dir" -U postgres)
  "${psql[@]}" -d postgres -c "CREATE DATABASE demo"
  "${psql[@]}" -d demo -c "CREATE EXTENSION concord" -c "ALTER DATABASE demo SET default_table_access_method = concord"
  step "pgbench -i -s $scale"
  "$pgbin/pgbench" -h "$dir" -U postgres -i -q -s "$scale" demo 2>&1 | grep -v NOTICE

  step "pgbench, TPC-B, 8 clients: transactions in each second"
  local line second failed=0
  "$pgbin/pgbench" -h "$dir" -U postgres -n -c 8 -j 2 -P 1 -T $((seconds * 5)) --max-tries=100 demo 2> >(
    while read -r line; do
      [[ $line =~ ^progress:\ ([0-9]+)\.[0-9]\ s,\ ([0-9]+) ]] || { echo "    $line"; continue; }
      second=${BASH_REMATCH[1]}
      printf '%4d s %8d\n' "$second" "${BASH_REMATCH[2]}"
      if [ $((second % seconds)) = 0 ]; then event $((second / seconds)); fi
    done) >"$dir/pgbench.log" || failed=1
  sleep 1
  [ $failed = 0 ] || { cat "$dir/pgbench.log" >&2; die "pgbench failed"; }

  step "what pgbench was told, and what is there"
  grep -E "actually processed|failed" "$dir/pgbench.log" | sed 's/^/    /'
  "${psql[@]}" -d demo -c "SELECT count(*) AS history_rows, sum(delta) AS history, (SELECT sum(abalance) FROM pgbench_accounts) AS accounts,
    (SELECT sum(tbalance) FROM pgbench_tellers) AS tellers, (SELECT sum(bbalance) FROM pgbench_branches) AS branches FROM pgbench_history"
  local told there
  told=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$dir/pgbench.log")
  there=$("${psql[@]}" -At -d demo -c "SELECT count(*) FROM pgbench_history")
  [ "$there" -ge "$told" ] || die "of $told acknowledged transactions only $there are there"
  [ "$("${psql[@]}" -At -d demo -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta) AND (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta)
    AND (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta) FROM pgbench_history")" = t ] || die "the balances do not add up"
  echo "    nothing was lost, and the balances add up"
  step "ready"
  cat <<TEXT
The cluster is running. Connect with
    $pgbin/psql -h $dir -U postgres demo
and end it with
    make cluster-demo-stop
TEXT
}

case ${1:-} in start) start ;; stop) demo_stop stop_all ;; *) echo "usage: cluster_demo.sh start|stop" >&2; exit 2 ;; esac
