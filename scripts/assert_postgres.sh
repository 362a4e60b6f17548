#!/bin/bash
# assert_postgres.sh: prints the directory of programs (PGBIN) of a PostgreSQL 15 with assertions, memory checks and valgrind's marks.
# Builds it from Debian's source where the cache has none, which takes some minutes; else it takes none. CONCORD_CACHE says where the
# cache is: by default /var/cache/concord for root, since the user postgres cannot read root's home, else ~/.cache/concord.
set -euo pipefail
umask 022
major=15 package=postgresql-15
if [ "$(id -u)" = 0 ]; then cache=/var/cache/concord; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/concord; fi
cache=${CONCORD_CACHE:-$cache}
# Debian's makefiles install libraries over those of the system where the prefix has neither "postgres" nor "pgsql" in it.
dest=$cache/postgres-$major-assert
log=$cache/postgres-$major-assert.log
# As Debian's where it shows in a test: ICU, XML, OpenSSL, the system's time zones. No LLVM, no documentation.
options=(--enable-cassert --enable-debug --enable-tap-tests --enable-thread-safety --with-icu --with-libxml --with-openssl
  --with-system-tzdata=/usr/share/zoneinfo --without-readline)
cflags="-O1 -g -fno-omit-frame-pointer -DUSE_VALGRIND"

"$(dirname "$0")/deps.sh" assert >&2
installed=$(dpkg-query -W -f '${source:Version}' $package)
made="for $installed: ${options[*]} $cflags"
mkdir -p "$cache"
exec 9>"$dest.lock"
flock 9
if [ "$(cat "$dest/made" 2>/dev/null)" = "$made" ]; then echo "$dest/bin"; exit 0; fi

say() { echo "assert_postgres.sh: $*" >&2; }
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# fetch_source: Debian's source in $work/source, of the installed version or else the newest that the mirrors hold (those for security
# fixes lag at times). Its lists, cache and sources are private: the machine's own sources with deb-src for deb.
fetch_source() {
  local apt=$work/apt file name version
  mkdir -p "$apt/sources" "$apt/lists/partial" "$apt/cache/archives/partial"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    name=$apt/sources/$(basename "$file")
    case $file in
      *.sources) sed 's/^Types:.*/Types: deb-src/' "$file" >"$name" ;;
      *.list) [ ! -f "$file" ] || sed -n 's/^ *deb /deb-src /p' "$file" >"$name" ;;
    esac
  done
  local private=(-qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$apt/sources" -o Dir::State::lists="$apt/lists"
    -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root)
  # A source without deb-src is an error of update; what matters is whether the package is there.
  apt-get "${private[@]}" update || true
  cd "$work"
  for version in "$installed" $(apt-cache "${private[@]}" showsrc $package | sed -n 's/^Version: //p' | sort -urV); do
    if apt-get "${private[@]}" source --download-only "$package=$version"; then
      [ "$version" = "$installed" ] || say "the source of $installed is not to be had, taking $version"
      dpkg-source --no-check -x "${package}_${version#*:}.dsc" source
      return
    fi
  done
  return 1
}

build_postgres() {
  local dir compiler=gcc
  if command -v ccache >/dev/null; then compiler="ccache gcc"; fi
  mkdir "$work/build"
  cd "$work/build"
  "$work/source/configure" --prefix="$dest" "${options[@]}" CC="$compiler" CFLAGS="$cflags"
  make -s -j "$(nproc)"
  rm -rf "$dest"
  make -s install
  # What the tests need beside the server: they are not part of an installation, but Debian's has them in these places too.
  for dir in src/test/regress src/test/isolation src/test/perl contrib/spi; do make -s -C $dir install; done
  cp "$work/source/src/tools/valgrind.supp" "$dest/share/valgrind.supp"
}

say "building PostgreSQL with assertions, see $log"
# Not in a condition, where errexit would not hold.
set +e
(set -e; fetch_source; build_postgres) >"$log" 2>&1
status=$?
set -e
[ $status = 0 ] || { tail -40 "$log" >&2; say "failed"; exit 1; }
echo "$made" >"$dest/made"
echo "$dest/bin"
