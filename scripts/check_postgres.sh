#!/bin/bash
# check_postgres.sh [regress] [isolation]: runs PostgreSQL's own regression and isolation suites with default_table_access_method =
# concord, and ends with a line "N passed, N failed". The tests whose output differs must be those that docs/compatibility.md lists with
# their reasons: one more or one less is a failure. A test with the expected lines in another order passes, and is counted apart.
# SERVER_CONF is added to the server's configuration.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
suites=("$@"); [ ${#suites[@]} -gt 0 ] || suites=(regress isolation)
export BUILD=${BUILD:-build}
die() { echo "$0: $*" >&2; exit 2; }

scripts/deps.sh source || die "packages could not be installed"
. scripts/postgres_source.sh
make --no-print-directory install >"$BUILD.log" 2>&1 || { tail -60 "$BUILD.log"; die "the build or the installation failed"; }
postgres=$(postgres_source) || die "no source of PostgreSQL"
version=$(cat "$postgres/version")
pgtest=$(dirname "$("$pgbin/pg_config" --pgxs)")/../test
psqlbin=$pgbin; [ ! -d "$postgres/client" ] || psqlbin=$postgres/client/usr/lib/postgresql/$major/bin

work=$(scratch_directory postgres)
trap 'for dir in "$work"/*/; do server_stop "$dir" immediate; done' EXIT
failed=0 passed=0
regress_floor=120 # tests that must pass, whatever docs/compatibility.md lists
complain() { echo "$*"; failed=$((failed + 1)); }

# copy_suite DIR SUITE: what pg_regress reads of a suite, into DIR/suite
copy_suite() {
  local dir=$1/suite tests=$postgres/source/src/test/$2
  mkdir -p "$dir"
  if [ "$2" = regress ]; then
    cp -r "$tests"/{sql,expected,data,resultmap} "$dir"
    cp "$tests/parallel_schedule" "$dir/schedule"
    gcc -O1 -fPIC -shared -fwrapv -fno-strict-aliasing -w -I"$("$pgbin/pg_config" --includedir-server)" -o "$dir/regress.so" \
      "$tests/regress.c" && cp "$("$pgbin/pg_config" --pkglibdir)"/{autoinc,refint}.so "$dir" || die "no libraries for the tests"
  else
    cp -r "$tests"/{specs,expected} "$dir"
    cp "$tests/isolation_schedule" "$dir/schedule"
  fi
  mkdir "$dir/out"
  [ "$(id -u)" != 0 ] || chown -R postgres "$1"
}

# into_template DIR: pg_regress makes its database from template0
into_template() {
  local psql=("$pgbin/psql" -X -q -v ON_ERROR_STOP=1 -h "$1" -U postgres)
  in_directory "$1" "${psql[@]}" -d postgres -c 'ALTER DATABASE template0 ALLOW_CONNECTIONS true' &&
    in_directory "$1" "${psql[@]}" -d template0 -c 'CREATE EXTENSION concord' &&
    in_directory "$1" "${psql[@]}" -d postgres -c 'ALTER DATABASE template0 ALLOW_CONNECTIONS false'
}

# run DIR SUITE ACCESS_METHOD: on a server of its own in DIR. Leaves the names of the tests in DIR/ok and DIR/differ.
run() {
  local dir=$1 program=$pgtest/regress/pg_regress options=(--dlpath="$1/suite" --max-concurrent-tests=20)
  local timeout=10min
  [ "$2" = regress ] || { program=$pgtest/isolation/pg_isolation_regress; options=(); }
  # A hang of one test is not to be one of the run. read-only-anomaly-2 leaves a transaction open that SSI would have ended, and
  # then drops its table; read-only-anomaly-3 finds it there.
  [ "$2" = regress ] || timeout=1min
  SERVER_CONF="default_table_access_method = '$3'
fsync = off
max_prepared_transactions = 2
statement_timeout = '$timeout'
${SERVER_CONF:-}" server_init "$dir" || die "initdb failed"
  server_start "$dir" || die "the server did not start"
  [ "$3" != concord ] || into_template "$dir" || die "the extension could not be made in template0"
  (cd "$dir" && as_user "$program" --bindir="$psqlbin" --inputdir="$dir/suite" --outputdir="$dir/suite/out" --host="$dir" \
    --port=5432 --user=postgres "${options[@]}" --schedule="$dir/suite/schedule") >"$dir/run.log" 2>&1
  server_stop "$dir" || complain "the server did not stop"
  sed -nE 's/^(test| ) +([^ ]+) +\.\.\. ok .*/\2/p' "$dir/run.log" | sort >"$dir/ok"
  sed -nE 's/^(test| ) +([^ ]+) +\.\.\. (FAILED|failed).*/\2/p' "$dir/run.log" | sort >"$dir/differ"
  [ -s "$dir/ok" ] || { tail -20 "$dir/run.log"; die "nothing ran"; }
}

# Where tests and server are of two minor versions, what heap answers on this server is right, too. Its answers are kept.
expect_heap() {
  local suite=$1 dir=$2 kept="$postgres/heap/$1" test
  [ "$version" != "$installed" ] || return 0
  if [ ! -d "$kept" ]; then
    echo "$suite: asking heap, as the tests are of $version and the server of $installed"
    mkdir -p "$postgres/heap" "$kept.new"
    copy_suite "$work/heap-$suite" "$suite"
    run "$work/heap-$suite" "$suite" heap
    while read -r test; do cp "$work/heap-$suite/suite/out/results/$test.out" "$kept.new"; done <"$work/heap-$suite/differ"
    mv "$kept.new" "$kept"
  fi
  for test in "$kept"/*.out; do
    [ ! -f "$test" ] || cp "$test" "$dir/suite/expected/$(basename "$test" .out)_9.out"
  done
}

# split_order DIR: moves the names of those tests to DIR/order whose results have an expected file's lines in another order
split_order() {
  local dir=$1 test expected same
  : >"$dir/order"
  mv "$dir/differ" "$dir/all"
  while read -r test; do
    same=differ
    for expected in "$dir/suite/expected/$test".out "$dir/suite/expected/$test"_[0-9].out; do
      [ ! -f "$expected" ] || ! cmp -s <(sort "$expected") <(sort "$dir/suite/out/results/$test.out") || same=order
    done
    echo "$test" >>"$dir/$same"
  done <"$dir/all"
  touch "$dir/differ"
}

# listed SUITE: the tests that a suite's section in docs/compatibility.md names, in the first cells of its tables
listed() {
  local section='## Regression tests'
  [ "$1" = regress ] || section='## Isolation tests'
  awk -v section="$section" '/^## / { here = $0 == section }
    here && /^\| `/ { split($0, cell, "|"); n = split(cell[2], part, "`"); for (i = 2; i <= n; i += 2) print part[i] }' \
    docs/compatibility.md | sort
}

check_suite() {
  local suite=$1 dir=$work/$1 test
  copy_suite "$dir" "$suite"
  expect_heap "$suite" "$dir"
  echo "$suite: running PostgreSQL's tests of $version"
  run "$dir" "$suite" concord
  split_order "$dir"
  listed "$suite" >"$dir/listed"
  echo "$suite: $(wc -l <"$dir/ok") exact, $(wc -l <"$dir/order") in another order, $(wc -l <"$dir/differ") differ"
  for test in $(comm -23 "$dir/differ" "$dir/listed"); do complain "$suite: $test differs and is not in docs/compatibility.md"; done
  for test in $(comm -13 "$dir/differ" "$dir/listed"); do
    complain "$suite: $test is in docs/compatibility.md, and $(if grep -qx "$test" "$dir/ok" "$dir/order"; then echo passes; else echo did not run; fi)"
  done
  passed=$((passed + $(cat "$dir/ok" "$dir/order" | wc -l) + $(comm -12 "$dir/differ" "$dir/listed" | wc -l)))
  # What docs/compatibility.md lists may differ, but not be most of it, nor hang. Isolation tests that differ may: their steps then
  # wait for one that does not come.
  if [ "$suite" = regress ]; then
    [ "$(cat "$dir/ok" "$dir/order" | wc -l)" -ge $regress_floor ] || complain "$suite: fewer than $regress_floor tests pass"
    while read -r test; do
      ! grep -qs 'canceling statement due to statement timeout' "$dir/suite/out/results/$test.out" ||
        complain "$suite: $test ran into the statement timeout"
    done <"$dir/listed"
  fi
  if grep -E 'terminated by signal|PANIC|TRAP: ' "$dir/server.log"; then complain "$suite: a process of the server crashed"; fi
}

for suite in "${suites[@]}"; do check_suite "$suite"; done
if [ "$failed" = 0 ] && [ -z "${KEEP:-}" ]; then rm -rf "$work"; else echo "kept: $work"; fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
