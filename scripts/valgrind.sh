#!/bin/bash
# valgrind.sh: one pass of the regress tests with every process of the server but the sidecar
# under valgrind, on the PostgreSQL of assert_postgres.sh, whose allocator tells valgrind what is in use. What valgrind reports
# fails the run. The sidecar is no process of PostgreSQL's; its own tests run with sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."
PGBIN=$(scripts/assert_postgres.sh)
export PGBIN BUILD=build-valgrind
. scripts/server.sh

# Memcheck keeps a node for each 64 kB of a mapping beyond 128 GB of addresses: 4 GB of map instead of 1 TB.
cmake -G Ninja -S . -B $BUILD -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPG_CONFIG="$PGBIN/pg_config" -DCONCORD_MAP_BITS=32 >/dev/null
logs=$(scratch_directory valgrind)
cat >"$logs/postgres" <<SH
#!/bin/sh
exec valgrind --quiet --vgdb=no --leak-check=no --num-callers=30 --gen-suppressions=all --error-markers=VALGRIND-BEGIN,VALGRIND-END \\
  --trace-children=yes '--trace-children-skip=*/concordd,*/sh' --suppressions=$PGBIN/../share/valgrind.supp \\
  --log-file=$logs/%p.log $PGBIN/postgres "\$@"
SH
chmod 755 "$logs/postgres"

# All is slow, and the gateway late to report what is read at; but what is dropped must go while a test looks.
conf="concord.commit_timeout = '20min'
concord.read_timeout = '20min'
concord.retention = '10s'"
status=0
POSTGRES=$logs/postgres PGCTLTIMEOUT=900 SERVER_CONF=$conf scripts/check.sh regress || status=1
ls "$logs"/*.log >/dev/null || { echo "valgrind did not run"; exit 1; }
errors=$(cat "$logs"/*.log | grep -c VALGRIND-BEGIN || true)
echo "valgrind: $(ls "$logs"/*.log | wc -l) processes, $errors errors"
if [ "$errors" != 0 ]; then
  cat "$logs"/*.log | sed -n '/VALGRIND-BEGIN/,/VALGRIND-END/p' | head -200
  echo "kept: $logs"
  exit 1
fi
rm -rf "$logs"
exit $status
