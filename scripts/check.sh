#!/bin/bash
# check.sh [format] [model] [unit] [sim] [regress] [isolation] [tap] [demo] [threads]: installs what is needed, builds, runs the named tests, or all but
# threads, and ends with a line "N passed, N failed". Exit status 0 only if none failed. TAP, a pattern such as 03*, chooses among the tests of tap;
# CONF is a setting more for the server of regress and isolation, such as "concord.local_reads = off".
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/server.sh
export BUILD=${BUILD:-build}
parts=("$@") beside=()
# Tests in SQL run one at a time, and the TAP tests wait for a third of their time; the model and the simulation need nothing but processors.
[ ${#parts[@]} -gt 0 ] || parts=(format unit regress isolation tap demo) beside=(model sim)
passed=0 failed=0
start=$(date +%s)
say() { printf '[%4ds] %s\n' $(($(date +%s) - start)) "$*"; }
count() { passed=$((passed + $1)); failed=$((failed + $2)); }
die() { say "$*"; echo "$passed passed, $((failed + 1)) failed"; exit 1; }

scripts/deps.sh || die "packages could not be installed"
pgtest=$(dirname "$("$pgbin/pg_config" --pgxs)")/../test
say "building"
make --no-print-directory all >"$BUILD.log" 2>&1 || { tail -60 "$BUILD.log"; die "the build failed"; }

# run_unit DIRECTORY SANITIZERS [OPTION...]: builds the unit tests there and runs them
run_unit() {
  local build=$1 test shard shards out ok bad status
  shards=$(($(nproc) + 1))  # they wait a third of the time
  say "building the unit tests with $2"
  # C with the same sanitizers as C++.
  set -- "$@" -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++
  { cmake -G Ninja -S . -B "$build" -DCMAKE_BUILD_TYPE=Debug -DCONCORD_SANITIZE="$2" "${@:3}" &&
    cmake --build "$build" --target unit_tests -j "$(nproc)"; } >"$build.log" 2>&1 ||
    { tail -60 "$build.log"; die "the sanitizer build failed"; }
  for test in core/core_test sidecar/metrics_test sidecar/sidecar_test extension/bridge_test extension/gateway_test regress/torture/torture_test fuzz/fuzz_test; do
    say "$build/$test"
    out=$(mktemp -d)
    for ((shard = 0; shard < shards; shard++)); do
      # gRPC's threads live as long as the process, and so do the sidecars of fuzz_test.
      ( GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard ASAN_OPTIONS=detect_leaks=1 \
        TSAN_OPTIONS="suppressions=$PWD/scripts/tsan.supp ignore_noninstrumented_modules=1 report_thread_leaks=0" \
        timeout 1800 "$build/$test" --gtest_brief=1 >"$out/$shard" 2>&1
        echo $? >"$out/$shard.status" ) &
    done
    wait
    for ((shard = 0; shard < shards; shard++)); do
      status=$(cat "$out/$shard.status")
      ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$out/$shard"); ok=${ok:-0}
      bad=$(sed -n 's/^ *\([0-9]*\) FAILED TEST.*/\1/p' "$out/$shard"); bad=${bad:-0}
      if [ "$status" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
      # Logs of what passed may come after it.
      [ "$bad" = 0 ] || { grep -E -A12 'Failure$|FAILED  |SUMMARY: |ERROR: |runtime error' "$out/$shard" | head -100; tail -20 "$out/$shard"; }
      count "$ok" "$bad"
    done
    rm -rf "$out"
  done
}

build_simulation() {
  say "building the simulation"
  cmake --build "$BUILD" --target concord_simulation concordd -j "$(nproc)" >>"$BUILD.log" 2>&1 || { tail -60 "$BUILD.log"; die "the build failed"; }
}

run_sim() {
  local simulation=$BUILD/sidecar/simulation/concord_simulation line
  say "simulation"
  if "$simulation" --seeds "${CONCORD_SIM_SEEDS:-40}" --twice 5; then count 1 0; else count 0 1; fi
  say "planted bugs"
  while read -r line; do
    case $line in ok*) count 1 0 ;; not*) say "$line"; count 0 1 ;; *) say "$line" ;; esac
  done < <(scripts/sim_bugs.sh "${CONCORD_SIM_BUGS:-short}")
}

prepare_sql() {
  [ -z "${work:-}" ] || return 0
  make --no-print-directory install >>"$BUILD.log" 2>&1 || { tail -20 "$BUILD.log"; die "the installation failed"; }
  work=$(scratch_directory check)
  cp -r regress/. core/pause_points.h "$work"/
  mkdir -p "$work/out"
  [ "$(id -u)" != 0 ] || chown -R postgres "$work"
}

with_server() {
  prepare_sql
  [ -d "$work/data" ] && return 0
  server_init "$work" || die "initdb failed"
  printf '%s\n' "default_table_access_method = 'concord'" "${CONF:-}" | as_user tee -a "$work/data/postgresql.conf" >/dev/null
  server_start "$work" || die "the server did not start"
}

# complaints FILE...: what no test explains by what it did: a failed assertion, overwritten memory, what was not given back
complaints() {
  local found
  found=$(grep -hE 'TRAP: |problem in alloc set|(reference|refcount|file|memory) leak|still active|seem to remain|while in .* state' "$@" |
    head -5)
  [ -z "$found" ] || { echo "$found"; count 0 1; }
}

# run_suite NAME PROGRAM SCHEDULE: pg_regress' or pg_isolation_regress' tests of a schedule; a test file that no schedule lists
# fails the run
run_suite() {
  local name=$1 program=$2 schedule=$3 ok bad
  with_server
  say "$name"
  (cd "$work" && as_user "$program" --bindir="$pgbin" --inputdir="$work" --outputdir="$work/out" \
    --dbname="$name" --load-extension=concord --host="$work" --port=5432 --user=postgres \
    --schedule="$work/$schedule") >"$work/$name.log" 2>&1
  local status=$?
  ok=$(grep -cE '\.\.\. ok( |$)' "$work/$name.log")
  bad=$(grep -cE '\.\.\. FAILED|\.\.\. failed' "$work/$name.log")
  # It gives up half-way where an expected file is missing.
  if [ $status != 0 ] && [ "$bad" = 0 ]; then tail -20 "$work/$name.log"; bad=1; fi
  if [ "$bad" != 0 ]; then
    grep -E 'FAILED|failed' "$work/$name.log"
    head -c 20000 "$work/out/regression.diffs" 2>/dev/null
  fi
  if grep -qE 'server process .* terminated by signal|PANIC' "$work/server.log"; then
    grep -E 'server process .* terminated by signal|PANIC' "$work/server.log" | head -5; bad=$((bad + 1))
  fi
  complaints "$work/server.log"
  count "$ok" "$bad"
}

unlisted() { # unlisted DIRECTORY SUFFIX SCHEDULE
  local file name
  for file in "regress/$1"/*."$2"; do
    name=$(basename "$file" ".$2")
    grep -qw -- "$name" "regress/$3" || { say "$file is in no schedule"; count 0 1; }
  done
}

# MODEL=long: the larger configurations too
run_model() {
  local out status ok bad
  say "model"
  out=$(scripts/model.sh ${MODEL:-} 2>&1)
  status=$?
  ok=$(sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p' <<<"$out"); ok=${ok:-0}
  bad=$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p' <<<"$out"); bad=${bad:-0}
  if [ $status != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
  [ "$bad" = 0 ] || head -200 <<<"$out"
  count "$ok" "$bad"
}

run_tap_file() { # run_tap_file FILE: its output goes to tap/NAME.log, prove's exit status to tap/NAME.status
  local name; name=$(basename "$1")
  say "$name"
  (cd "$work" && as_user env PATH="$pgbin:$PATH" PERL5LIB="$work/t:$pgtest/perl" \
    PG_REGRESS=$pgtest/regress/pg_regress CONCORD_TEST_BIN="$work/bin" TESTDIR="$work" TESTDATADIR="$work/tmp_check" \
    PG_TEST_TIMEOUT_DEFAULT=120 timeout 3600 prove --timer --nocolor "$1") >"$work/tap/$name.log" 2>&1
  echo $? >"$work/tap/$name.status"
}

run_tap() {
  prepare_sql
  cmake --build "$BUILD" --target crash_tests garbage torture -j "$(nproc)" >>"$BUILD.log" 2>&1 || { tail -60 "$BUILD.log"; die "the build failed"; }
  mkdir -p "$work/bin"
  cp "$BUILD"/regress/{crash/os_crash,crash/crash_recorder.so,garbage/garbage} "$work/bin"
  install -m 755 "$BUILD"/regress/torture/torture "$work/torture/"
  mkdir -p "$work/tap"
  # They wait a third of the time, so there is one more than there are processors side by side; and the long ones come first, which their
  # size tells well enough, so that none is left alone at the end.
  local test name ended
  local -A running=()
  for test in $(ls -S "$work"/t/${TAP:-*}.pl); do
    if [ ${#running[@]} -gt "$(nproc)" ]; then wait -n -p ended "${!running[@]}"; unset "running[$ended]"; fi
    run_tap_file "$test" &
    running[$!]=$test
  done
  wait "${!running[@]}"
  for test in "$work"/t/${TAP:-*}.pl; do
    name=$(basename "$test")
    if [ "$(cat "$work/tap/$name.status")" = 0 ]; then count 1 0; else say "$name failed"; tail -40 "$work/tap/$name.log"; count 0 1; fi
  done
  complaints "$work"/tmp_check/log/*.log
}

# Runs the parts in `beside` at the lowest priority beside what follows; finish_beside waits for them, and tells.
start_beside() {
  [ ${#beside[@]} -gt 0 ] || return 0
  build_simulation
  beside_out=$(mktemp -d)
  (
    renice -n 19 -p "$BASHPID" >/dev/null
    passed=0 failed=0
    for part in "${beside[@]}"; do "run_$part"; done
    echo "$passed $failed" >"$beside_out/counts"
  ) >"$beside_out/log" 2>&1 &
  beside_pid=$!
}
finish_beside() {
  [ -n "${beside_pid:-}" ] || return 0
  local ok=0 bad=1
  say "waiting for ${beside[*]}"
  wait "$beside_pid"
  cat "$beside_out/log"
  [ ! -e "$beside_out/counts" ] || read -r ok bad <"$beside_out/counts"
  count "$ok" "$bad"
  rm -rf "$beside_out"
}

for part in "${parts[@]}"; do
  case $part in
    format) say "format"
      if scripts/format.sh --check; then count 1 0; else say "make format would change sources"; count 0 1; fi ;;
    model) run_model ;;
    unit) run_unit build-asan address,undefined ;;
    # Maps of 4 GB: those of the usual size do not always find room in the addresses that the sanitizer leaves.
    threads) run_unit build-tsan thread -DCONCORD_MAP_BITS=32 ;;
    sim) build_simulation; run_sim ;;
    regress) start_beside
      unlisted sql sql regress_schedule
      scripts/documented_errors.pl || count 0 1
      scripts/documented_metrics.pl || count 0 1
      run_suite regress $pgtest/regress/pg_regress regress_schedule ;;
    isolation) unlisted specs spec isolation_schedule
      run_suite isolation $pgtest/isolation/pg_isolation_regress isolation_schedule ;;
    tap) run_tap; finish_beside ;;
    demo) say "demo"
      if scripts/demo_test.sh; then count 1 0; else count 0 1; fi
      say "cluster-demo"
      if scripts/cluster_demo_test.sh; then count 1 0; else count 0 1; fi ;;
    *) die "unknown part $part" ;;
  esac
done
if [ -n "${work:-}" ]; then
  server_stop "$work" || count 0 1
  if [ "$failed" = 0 ]; then rm -rf "$work"; else say "kept: $work"; fi
fi
say "done"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
