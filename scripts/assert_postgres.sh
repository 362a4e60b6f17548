#!/bin/bash
# assert_postgres.sh: prints the directory of programs (PGBIN) of a PostgreSQL 15 with assertions, memory checks and valgrind's marks.
# Builds it from Debian's source where the cache (postgres_source.sh) has none, which takes some minutes; else it takes none.
set -euo pipefail
umask 022
"$(dirname "$0")/deps.sh" assert >&2
. "$(dirname "$0")/postgres_source.sh"
# Debian's makefiles install libraries over those of the system where the prefix has neither "postgres" nor "pgsql" in it.
dest=$cache/postgres-$major-assert
log=$cache/postgres-$major-assert.log
# As Debian's where it shows in a test: ICU, XML, LZ4, OpenSSL, the system's time zones. No LLVM, no documentation.
options=(--enable-cassert --enable-debug --enable-tap-tests --enable-thread-safety --with-icu --with-libxml --with-lz4 --with-openssl
  --with-system-tzdata=/usr/share/zoneinfo --without-readline)
cflags="-O1 -g -fno-omit-frame-pointer -DUSE_VALGRIND"

made="for $installed: ${options[*]} $cflags"
mkdir -p "$cache"
exec 9>"$dest.lock"
flock 9
if [ "$(cat "$dest/made" 2>/dev/null)" = "$made" ]; then echo "$dest/bin"; exit 0; fi

source=$(postgres_source)/source
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

build_postgres() {
  local dir compiler=gcc
  if command -v ccache >/dev/null; then compiler="ccache gcc"; fi
  # Below another make, PostgreSQL's takes it that the headers it generates are there.
  unset MAKELEVEL MAKEFLAGS MFLAGS
  cd "$work"
  "$source/configure" --prefix="$dest" "${options[@]}" CC="$compiler" CFLAGS="$cflags"
  make -s -j "$(nproc)"
  rm -rf "$dest"
  make -s install
  # What the tests need beside the server: they are not part of an installation, but Debian's has them in these places too.
  for dir in src/test/regress src/test/isolation src/test/perl contrib/{spi,citext,postgres_fdw}; do make -s -C $dir install; done
  cp "$source/src/tools/valgrind.supp" "$dest/share/valgrind.supp"
}

say "building PostgreSQL with assertions, see $log"
# Not in a condition, where errexit would not hold.
set +e
(set -e; build_postgres) >"$log" 2>&1
status=$?
set -e
[ $status = 0 ] || { tail -40 "$log" >&2; say "failed"; exit 1; }
echo "$made" >"$dest/made"
echo "$dest/bin"
