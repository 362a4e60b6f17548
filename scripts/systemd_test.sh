#!/bin/bash
# systemd_test.sh: runs concordd's unit (systemd/concordd@.service), with all that it forbids, under a systemd of its own in namespaces: a cluster
# and a server, every member killed under load, stops, a mistake in a file. Needs root. Exit status 0 if all is well; what failed is printed.
set -uo pipefail
script=$(realpath "$0")
pgbin=${PGBIN:-/usr/lib/postgresql/15/bin}
complain() { echo "systemd: $*"; failed=1; }

# As PID 1 of the namespaces. What a boot does to a machine must not be done to this one: its units are masked, and what the rest writes
# lies in SCRATCH.
begin_systemd() { # begin_systemd SCRATCH
  local unit
  set -e
  mount --make-rprivate /
  umount -l /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
  cp -a /etc "$1/etc"
  for unit in tmpfiles-setup tmpfiles-setup-dev tmpfiles-clean sysctl binfmt modules-load remount-fs sysusers random-seed update-utmp \
    journal-flush udevd udev-trigger hwdb-update machine-id-commit; do
    ln -sf /dev/null "$1/etc/systemd/system/systemd-$unit.service"
  done
  mkdir "$1/etc/concord" "$1/upper" "$1/work"
  mount --bind "$1/etc" /etc
  mount -t overlay overlay -o "lowerdir=/var/lib,upperdir=$1/upper,workdir=$1/work" /var/lib
  install -d -o postgres -g postgres /var/lib/postgresql
  mount -t tmpfs tmpfs /run
  mount -t tmpfs tmpfs /tmp
  exec env container=concord-test /lib/systemd/systemd --system --unit=basic.target
}

as_postgres() { (cd / && runuser -u postgres -- "$@"); }
sql() { as_postgres "$pgbin/psql" -XAtq -v ON_ERROR_STOP=1 -h "$data" -c "$1"; }
node_id() { sed -n 's/^id //p' "/var/lib/concord/$1/node_id"; }
socket() { echo "unix:/var/lib/concord/$1/concordd.sock"; }
show() { systemctl show -p "$2" --value "concordd@$1"; }

# Inside: what an administrator would do (docs/operations.md, "As a service").
run_cluster() {
  local id name journals="" port=27379
  failed=0 data=/var/lib/postgresql/data
  while (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 10)); done
  id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  local metastore=etcd:127.0.0.1:$port
  systemd-run -q --unit=test-etcd etcd --name e --data-dir /var/lib/test-etcd --listen-client-urls "http://127.0.0.1:$port" \
    --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "http://127.0.0.1:$((port + 1))" \
    --initial-advertise-peer-urls "http://127.0.0.1:$((port + 1))" --initial-cluster "e=http://127.0.0.1:$((port + 1))"
  for name in j1 j2 j3; do
    printf '%s\n' "dir = /var/lib/concord/$name" "roles = journal" "join-cluster = $id" >"/etc/concord/$name.conf"
    systemctl start "concordd@$name" || complain "$name does not start"
    journals+=,$(node_id "$name")=$(socket "$name")
  done
  # etcd may still be starting.
  for try in {1..20}; do
    as_postgres "$pgbin/concordctl" cluster init --metastore "$metastore" --cluster "$id" --write-quorum 2 --journal "${journals#,}" >/dev/null && break
    [ "$try" -lt 20 ] || { complain "the cluster cannot be made"; return 1; }  # what follows would wait for it
    sleep 0.5
  done
  for name in a1:adjudicator a2:adjudicator s1:storage; do
    printf '%s\n' "dir = /var/lib/concord/${name%:*}" "roles = ${name#*:}" "join-cluster = $id" "metastore = $metastore" \
      >"/etc/concord/${name%:*}.conf"
    systemctl start "concordd@${name%:*}" || complain "${name%:*} does not start"
  done
  as_postgres "$pgbin/concordctl" storage add "$(node_id s1)=$(socket s1)" --metastore "$metastore" --cluster "$id" >/dev/null ||
    complain "the replica cannot be registered"

  as_postgres "$pgbin/initdb" -D $data -A trust -U postgres >/dev/null 2>&1
  as_postgres tee -a $data/postgresql.conf >/dev/null <<CONF
shared_preload_libraries = 'concord'
listen_addresses = ''
unix_socket_directories = '$data'
default_table_access_method = 'concord'
concord.embedded = off
concord.address = '$(socket a1),$(socket a2)'
concord.storage_address = '$(socket s1)'
CONF
  as_postgres "$pgbin/pg_ctl" -D $data -l $data/log -w start >/dev/null || complain "the server does not start"
  sql "CREATE EXTENSION concord"
  as_postgres "$pgbin/pgbench" -h $data -i -q -s 1 postgres >/dev/null 2>&1 || complain "pgbench has no tables"

  as_postgres "$pgbin/pgbench" -h $data -n -N -c 4 -T 12 --max-tries=20 postgres >"$data/pgbench" 2>&1 &
  sleep 2
  for name in a1 j1 s1 a2; do
    systemctl kill -s KILL "concordd@$name"
    sleep 2
    [ "$(show "$name" ActiveState) $(show "$name" NRestarts)" = "active 1" ] || complain "$name was not started again once"
  done
  wait $!
  grep -q '^number of failed transactions: 0 ' $data/pgbench || { cat $data/pgbench; complain "a transaction failed"; }
  [ "$(sql 'SELECT count(*) FROM pgbench_history')" = "$(sed -n 's/^number of transactions actually processed: //p' $data/pgbench)" ] ||
    complain "a transaction was lost, or done twice"

  for name in a1 s1; do
    systemctl stop "concordd@$name"
    [ "$(show "$name" Result)" = success ] || complain "$name did not stop in order: $(show "$name" Result)"
    systemctl start "concordd@$name" || complain "$name does not start after its stop"
  done
  sql "INSERT INTO pgbench_history VALUES (1, 1, 1)" || complain "no commits after the stops"
  echo "no-such-option = x" >/etc/concord/bad.conf
  ! systemctl start concordd@bad 2>/dev/null || complain "a mistake in the file is no failure"
  sleep 2
  [ "$(show bad ExecMainStatus) $(show bad NRestarts)" = "2 0" ] || complain "a mistake in the file is tried again"
  journalctl -u concordd@bad -o cat | grep -q 'there is no option "no-such-option"' || complain "the log does not name the mistake"
  as_postgres "$pgbin/concordctl" cluster status --metastore "$metastore" --cluster "$id" >/dev/null || complain "the cluster is not well"
  [ $failed = 0 ] || journalctl --no-pager -u 'concordd@*' | tail -40
  return $failed
}

case ${1:-} in
  begin) begin_systemd "$2" ;;
  inside) run_cluster ;;
  *)
    [ "$(id -u)" = 0 ] || { echo "systemd: only root can make the namespaces"; exit 1; }
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/concord-systemd.XXXXXX")
    chmod 755 "$scratch"
    setsid unshare --pid --fork --kill-child --mount --cgroup --uts --ipc --mount-proc "$script" begin "$scratch" >"$scratch/log" 2>&1 &
    unshare=$!
    trap 'kill -9 $unshare 2>/dev/null; wait $unshare 2>/dev/null; rm -rf "$scratch"' EXIT
    enter() { nsenter -t "$(awk '{print $1}' "/proc/$unshare/task/$unshare/children")" -m -p -u -i -C "$@"; }
    for ((try = 0; try < 300; try++)); do
      state=$(enter systemctl is-system-running 2>/dev/null)
      case $state in running | degraded) break ;; esac
      sleep 0.1
    done
    [ "$state" = running ] || [ "$state" = degraded ] || { cat "$scratch/log"; echo "systemd: it does not run"; exit 1; }
    enter bash -s inside <"$script"
    ;;
esac
