#!/bin/bash
# format.sh [--check]: clang-format over the C++ sources, or whether they are as it would leave them. Headers that C reads too are in
# PostgreSQL's style, which it does not know.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(
  find core sidecar extension regress fuzz -name '*.cpp'
  find core sidecar extension/gateway regress fuzz -name '*.h'
  grep -L __cplusplus extension/bridge/*.h)
case ${1:-} in
  --check) clang-format --dry-run -Werror "${files[@]}" ;;
  '') clang-format -i "${files[@]}" ;;
  *) echo "usage: format.sh [--check]" >&2; exit 2 ;;
esac
