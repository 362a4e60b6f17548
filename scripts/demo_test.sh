#!/bin/bash
# demo_test.sh: the demo in small, from start to stop: what it prints works, nobody else gets at its server, stop removes that and nothing
# else. Exit status 0 if so; what failed is printed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CONCORD_DEMO_SCALE=1 CONCORD_DEMO_SECONDS=1
XDG_RUNTIME_DIR=$(mktemp -d); export XDG_RUNTIME_DIR # a demo that somebody has running is left alone
log=$XDG_RUNTIME_DIR/log state=$XDG_RUNTIME_DIR/concord-demo-$(id -u) failed=0
complain() { echo "demo: $*"; failed=1; }

scripts/demo.sh start >"$log" 2>&1 || { tail -20 "$log"; complain "it does not start"; }
dir=$(cat "$state" 2>/dev/null)
if [ $failed = 0 ]; then
  [ "$(stat -c %a "$dir")" = 700 ] || complain "others may enter $dir"
  if [ "$(id -u)" = 0 ] && runuser -u nobody -- true 2>/dev/null &&
    runuser -u nobody -- "${PGBIN:-/usr/lib/postgresql/15/bin}/psql" -X -h "$dir" -U postgres demo -c 'SELECT 1' >/dev/null 2>&1; then
    complain "another user is its superuser"
  fi
  # The line that it says to connect with, as it stands there.
  psql=$(sed -n 's/^    \(.*psql -h .*\)$/\1/p' "$log")
  [ "$($psql -XAtc 'SELECT count(*) FROM pgbench_accounts' 2>&1)" = 100000 ] || complain "\"$psql\" does not connect to its rows"
  [ "$(grep -c ' [1-9][0-9]* *[1-9][0-9]*$' "$log")" -ge 3 ] || complain "no transactions were counted"
  pid=$(sed -n 1p "$dir/data/postmaster.pid")

  # A state file that was put there names no demo's directory: that is not removed.
  mkdir "$XDG_RUNTIME_DIR/keep"
  mv "$state" "$state.saved"
  echo "$XDG_RUNTIME_DIR/keep" >"$state"
  if scripts/demo.sh stop >>"$log" 2>&1; then complain "stop believes any state file"; fi
  rm -f "$state"
  ln -s "$state.saved" "$state"
  if scripts/demo.sh stop >>"$log" 2>&1; then complain "stop follows a link"; fi
  [ -d "$XDG_RUNTIME_DIR/keep" ] && [ -d "$dir" ] || complain "stop has removed what is not the demo's, or not to be stopped"
  mv "$state.saved" "$state"
fi
scripts/demo.sh stop >>"$log" 2>&1 || { tail -5 "$log"; complain "it does not stop"; }
[ -z "$dir" ] || [ ! -e "$dir" ] || complain "$dir is still there"
# pg_ctl does not wait for the process, which has a moment to go; one that nobody has waited for is no more than its number.
for ((try = 0; try < 50; try++)); do
  [ -n "$(readlink "/proc/${pid:-none}/exe")" ] || break
  sleep 0.1
done
[ $try -lt 50 ] || complain "its server still runs"
[ ! -e "$state" ] || complain "it is still known as running"
rm -rf "$XDG_RUNTIME_DIR"
exit $failed
