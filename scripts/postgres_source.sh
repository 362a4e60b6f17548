# Functions that get Debian's source of PostgreSQL; sourced by assert_postgres.sh and check_postgres.sh. CONCORD_CACHE says where it is
# kept: by default /var/cache/concord for root, since the user postgres cannot read root's home, else ~/.cache/concord.
major=15 package=postgresql-$major
if [ "$(id -u)" = 0 ]; then cache=/var/cache/concord; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/concord; fi
cache=${CONCORD_CACHE:-$cache}
installed=$(dpkg-query -W -f '${source:Version}' $package)

say() { echo "$(basename "$0"): $*" >&2; }

# private_apt DIR COMMAND...: apt with lists, cache and sources of its own in DIR, so that nothing of the system changes: the machine's
# sources, for binaries and for source packages. Options may precede the command.
private_apt() {
  local dir=$1 program=$2
  shift 2
  "$program" -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/sources" -o Dir::State::lists="$dir/lists" \
    -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root "$@"
}

private_apt_update() {
  local dir=$1 file name
  mkdir -p "$dir/sources" "$dir/lists/partial" "$dir/cache/archives/partial"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    name=$dir/sources/$(basename "$file")
    case $file in
      *.sources) sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$name" ;;
      *.list) [ ! -f "$file" ] || sed -n 's/^ *deb \(.*\)/deb \1\ndeb-src \1/p' "$file" >"$name" ;;
    esac
  done
  # A source without deb-src is an error of update; what matters is whether the package is there.
  private_apt "$dir" apt-get update || true
}

# fetch_source DIR: into DIR/source that of the installed version, or else the newest that the mirrors hold (those for security fixes
# lag at times); into DIR/client the client of the same version if another is installed, as psql and tests are made for each other.
fetch_source() {
  local dir=$1 apt=$1/apt version
  private_apt_update "$apt"
  cd "$dir"
  for version in "$installed" $(private_apt "$apt" apt-cache showsrc $package | sed -n 's/^Version: //p' | sort -urV); do
    if private_apt "$apt" apt-get source --download-only "$package=$version"; then
      dpkg-source --no-check -x "${package}_${version#*:}.dsc" source
      if [ "$version" != "$installed" ]; then
        say "the source of $installed is not to be had, taking $version"
        private_apt "$apt" apt-get download "postgresql-client-$major=$version"
        dpkg -x postgresql-client-$major*.deb client
      fi
      echo "$version" >version
      rm -rf "$apt" ./*.deb ./*.tar.* ./*.dsc
      return
    fi
  done
  return 1
}

# postgres_source: the directory with what fetch_source makes, which is asked where the cache has nothing for the installed version.
postgres_source() {
  local dir=$cache/$package-$installed status log=$cache/$package-source.log
  mkdir -p "$cache"
  (
    flock 8
    [ ! -d "$dir" ] || exit 0
    rm -rf "$cache/$package"-[0-9]*
    mkdir "$dir.new"
    say "fetching the source of PostgreSQL, see $log"
    # Not in a condition, where errexit would not hold.
    set +e
    (set -e; fetch_source "$dir.new") >"$log" 2>&1
    status=$?
    set -e
    [ $status = 0 ] || { tail -20 "$log" >&2; say "failed"; exit 1; }
    grep -h 'not to be had' "$log" >&2 || true
    mv "$dir.new" "$dir"
  ) 8>"$cache/$package-source.lock" && echo "$dir"
}
