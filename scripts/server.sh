# Functions to run a scratch server; sourced by check.sh, demo.sh and bench.sh. PostgreSQL refuses to run as root, so root
# runs it as the user postgres. PGBIN names another PostgreSQL 15 than Debian's, such as one with assertions.
pgbin=${PGBIN:-/usr/lib/postgresql/15/bin}

as_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# scratch_directory NAME: a new directory that the server's user owns. Nobody else may enter it: the server asks for no password.
scratch_directory() {
  local dir; dir=$(mktemp -d "${TMPDIR:-/tmp}/concord-$1.XXXXXX")
  chmod 700 "$dir"
  [ "$(id -u)" != 0 ] || chown postgres "$dir"
  echo "$dir"
}

# in_directory DIR COMMAND...: as the server's user, who may not see the caller's directory
in_directory() { (cd "$1" && shift && as_user "$@"); }

# server_init DIR: a cluster in DIR/data that preloads concord and listens on a unix socket in DIR only; SERVER_CONF is added to
# its configuration
server_init() {
  local dir=$1
  in_directory "$dir" "$pgbin/initdb" -D "$dir/data" -U postgres -E UTF8 --locale=C -A trust >"$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log" >&2; return 1; }
  as_user tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
shared_preload_libraries = 'concord'
listen_addresses = ''
unix_socket_directories = '$dir'
unix_socket_permissions = 0700
port = 5432
max_connections = 100
${SERVER_CONF:-}
CONF
}

# POSTGRES names a program to run as the server, such as one that starts it under valgrind; PGCTLTIMEOUT (60 s) is pg_ctl's.
server_start() {
  in_directory "$1" "$pgbin/pg_ctl" -D "$1/data" -l "$1/server.log" -w ${POSTGRES:+-p "$POSTGRES"} start >/dev/null ||
    { tail -40 "$1/server.log" >&2; return 1; }
}

server_stop() {
  [ ! -f "$1/data/postmaster.pid" ] || in_directory "$1" "$pgbin/pg_ctl" -D "$1/data" -m "${2:-fast}" -w stop >/dev/null
}
