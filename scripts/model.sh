#!/bin/bash
# model.sh [long] [NAME...]: has spin check the model of the journal's protocol (model/README.md). Without arguments every configuration that
# `make check` runs, with `long` the larger ones too, with names only those, each with the story that spin found, if it found one.
# A line each: what was expected and found, states, processor time. Exit status 0 only if all is as expected.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# name | in which run | whether it holds, does harm, or reaches what it names | switches
configurations() {
  cat <<'END'
replace                       | check | holds | -DPLACES=3
add-and-remove                | check | holds | -DCHANGES=2 -DREPLACE=0 -DADD=1 -DREMOVE=1
four-leaders                  | check | holds | -DNODES=3 -DEPOCHS=4 -DPLACES=3 -DCHANGES=0
fine                          | check | holds | -DFINE
FENCE_OFF                     | check | harm  | -DFENCE_OFF
SEAL_TOO_FEW                  | check | harm  | -DSEAL_TOO_FEW
CHOOSE_LAST_LSN_ONLY          | check | harm  | -DCHOOSE_LAST_LSN_ONLY
COMMIT_OLD_TAIL_EARLY         | check | harm  | -DCOMMIT_OLD_TAIL_EARLY -DNODES=3 -DEPOCHS=4 -DCHANGES=0
MEMBERSHIP_READ_BEFORE_EPOCH  | check | harm  | -DMEMBERSHIP_READ_BEFORE_EPOCH
CHANGE_WITHOUT_EPOCH          | check | harm  | -DCHANGE_WITHOUT_EPOCH
CHANGE_BEFORE_OWN_RECORD      | check | harm  | -DCHANGE_BEFORE_OWN_RECORD -DPLACES=1
RECORD_TOO_EARLY              | check | harm  | -DRECORD_TOO_EARLY
NO_JOINT                      | check | harm  | -DNO_JOINT
OLD_UNTIL_TOLD                | check | harm  | -DOLD_UNTIL_TOLD
BACK_IF_NOT_TOLD              | check | harm  | -DBACK_IF_NOT_TOLD
REMOVED_FORGETS               | check | harm  | -DREMOVED_FORGETS
OLD_TAIL_COMMITTED            | check | reach | -DREACH=OLD_TAIL_COMMITTED
TAIL_CUT                      | check | reach | -DREACH=TAIL_CUT
COME_BACK                     | check | reach | -DREACH=COME_BACK
OLD_LEADER_WRITES             | check | reach | -DREACH=OLD_LEADER_WRITES
JOINT_COMMIT                  | check | reach | -DREACH=JOINT_COMMIT
CHANGE_REFUSED                | check | reach | -DREACH=CHANGE_REFUSED
COMMIT_AFTER_CHANGE           | check | reach | -DREACH=COMMIT_AFTER_CHANGE
REMOVED_COMES_BACK            | check | reach | -DREACH=REMOVED_COMES_BACK -DCHANGES=2
four-leaders-replace          | long  | holds | -DEPOCHS=4
two-changes                   | long  | holds | -DCHANGES=2 -DADD=1 -DREMOVE=1
fine-replace                  | long  | holds | -DFINE -DPLACES=3
five-nodes                    | long  | holds | -DNODES=5 -DFIRST=31 -DCHANGES=0
six-nodes                     | long  | holds | -DNODES=6 -DFIRST=63 -DCHANGES=0 -DEPOCHS=2
END
}

# check_one NAME KIND SWITCHES: writes its line to `line`, what spin found to `story`, and passed or failed to `verdict`
check_one() {
  local name=$1 kind=$2 switches=$3 found states seconds expected
  local -a model pan=(-DSAFETY -DNOREDUCE -DCOLLAPSE -DMEMLIM=2000)
  read -ra model <<<"$switches"
  case $kind in
    holds) expected=holds ;;
    # What a mistake breaks must be a promise, and not merely what keeps it.
    harm) expected="record_replaced chosen_lacks_record fenced_leader_commits" model+=(-DHARM_ONLY) ;;
    reach) expected=is_reached ;;
  esac
  # Breadth first, so that the story is a shortest one; what is found soon is not worth the compiler's time.
  if [ "$kind" = holds ]; then pan+=(-O1); else pan+=(-O0 -DBFS); fi
  { spin -a "${model[@]}" "$root/model/journal.pml" && gcc -w "${pan[@]}" -o pan pan.c; } >build.log 2>&1 ||
    { tail -5 build.log >story; echo "$name: it could not be built" >line; return; }
  TIMEFORMAT=%U
  { time ./pan -E -m100000 -w24 >pan.log 2>pan.err; } 2>seconds || true
  seconds=$(cat seconds)
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log | head -1)
  found=$(sed -n 's/^pan:[0-9]*: assertion violated (*\([a-z_]*\)||.*/\1/p' pan.log | head -1)
  if [ -z "$found" ] && grep -q 'errors: 0$' pan.log && ! grep -qE 'Search not completed|max search depth too small|out of memory' pan.log; then
    found=holds
  fi
  [ -n "$found" ] || { found="no result"; tail -5 pan.log pan.err >story; }
  if [ -e journal.pml.trail ]; then
    spin -t -T -k journal.pml.trail "${model[@]}" "$root/model/journal.pml" 2>&1 | grep -E '^(epoch [0-9]+|node [0-9]+ forgets)' >story || true
  fi
  printf '%-30s %-22s %10s states %8s s\n' "$name" "$found" "$states" "$seconds" >line
  [[ " $expected " != *" $found "* ]] || echo passed >verdict
}

longer=no
names=()
for argument in "$@"; do
  if [ "$argument" = long ]; then longer=yes; else names+=("$argument"); fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
jobs=() running=0
while IFS='|' read -r name run kind switches; do
  name=${name// /} run=${run// /} kind=${kind// /}
  if [ ${#names[@]} -gt 0 ]; then
    [[ " ${names[*]} " == *" $name "* ]] || continue
  elif [ "$run" = long ] && [ $longer = no ]; then
    continue
  fi
  jobs+=("$name")
  mkdir "$work/$name"
  if [ $running = "$(nproc)" ]; then wait -n; running=$((running - 1)); fi
  (cd "$work/$name" && check_one "$name" "$kind" "$switches") &
  running=$((running + 1))
done < <(configurations)
wait

passed=0 failed=0
for name in "${jobs[@]}"; do
  cat "$work/$name/line"
  if [ -e "$work/$name/verdict" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  if [ ! -e "$work/$name/verdict" ] || [ ${#names[@]} -gt 0 ]; then
    [ ! -e "$work/$name/story" ] || sed 's/^/    /' "$work/$name/story"
  fi
done
[ ${#jobs[@]} -gt 0 ] || { echo "no such configuration" >&2; exit 1; }
echo "$passed passed, $failed failed"
[ $failed = 0 ]
