#!/bin/bash
# fuzz.sh SECONDS: runs each fuzzer (fuzz/) that long with libFuzzer and the address and undefined behaviour sanitizers. What it learns
# stays in build-fuzz/corpus; an input that fails is kept in build-fuzz/found and named.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
build=build-fuzz
scripts/deps.sh
cmake -G Ninja -S . -B $build -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DCONCORD_SANITIZE=address,undefined -DCONCORD_FUZZ=ON >/dev/null
cmake --build $build --target fuzzers -j "$(nproc)" >$build/build.log 2>&1 || { tail -60 $build/build.log; exit 1; }
mkdir -p $build/found
failed=0
for pair in Journal:journal Keys:keys WriteSet:write_set Services:services Files:files; do
  target=${pair%%:*} name=${pair##*:}
  mkdir -p $build/corpus/$name
  echo "fuzzing $name for $seconds s"
  if CONCORD_FUZZ_SEEDS=$build/corpus/$name $build/fuzz/fuzz_$target -max_total_time="$seconds" -max_len=8192 -timeout=30 \
      -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix=$build/found/$name- $build/corpus/$name fuzz/corpus/$name \
      >$build/$name.log 2>&1; then
    # Coverage of the seeds, and in the end: it should grow at first, and stand still once the corpus is good.
    sed -nE 's/^#[0-9]+\tINITED (cov: [0-9]+ ft: [0-9]+) .*/  begins with \1/p; s/^#([0-9]+)\tDONE +(cov: [0-9]+ ft: [0-9]+) corp: ([0-9]+).*/  \1 runs, \2, \3 inputs/p' \
      $build/$name.log
  else
    tail -30 $build/$name.log; failed=$((failed + 1))
  fi
done
[ "$failed" = 0 ]
