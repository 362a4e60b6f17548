# Functions to run a Concord cluster on this machine; sourced after server.sh. Members are e1, e2, ... (etcd), j1, ... (journal
# nodes), a1, ... (adjudicators), s1, ... (storage replicas), or m1, ... (all three in a process). DIR has of each its directory, NAME.log,
# NAME.pid and NAME.command.
concord_bin() { "$pgbin/pg_config" --pkglibdir; }
concordctl() { as_user "$pgbin/concordctl" "$@"; }
member_socket() { echo "unix:$1/$2/concordd.sock"; }

# A port of the loopback interface that nobody listens on.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# cluster_command DIR NAME COMMAND...: what starts the member
cluster_command() {
  local dir=$1 name=$2; shift 2
  printf '%s\0' "$@" | as_user tee "$dir/$name.command" >/dev/null
}

# cluster_launch DIR NAME: starts the member
cluster_launch() {
  local dir=$1 name=$2
  as_user bash -c 'cd "$1" && mapfile -d "" command <"$2.command" && { "${command[@]}" </dev/null >"$2.log" 2>&1 & echo $! >"$2.pid"; }' - "$dir" "$name"
}

# cluster_await DIR NAME: waits until the member is ready
cluster_await() {
  local dir=$1 name=$2
  for ((try = 0; try < 300; try++)); do
    ! grep -qE 'ready address|ready to serve client requests' "$dir/$name.log" 2>/dev/null || return 0
    sleep 0.1
  done
  tail -20 "$dir/$name.log" >&2
  return 1
}

# cluster_start DIR NAME: both
cluster_start() { cluster_launch "$@" && cluster_await "$@"; }

# cluster_kill DIR NAME [SIGNAL]
cluster_kill() {
  local pid; pid=$(<"$1/$2.pid")
  rm -f "$1/$2.pid"
  as_user kill "-${3:-9}" "$pid"
  for ((try = 0; try < 150; try++)); do [ -e "/proc/$pid/exe" ] || return 0; sleep 0.1; done
}

# The adjudicator that has begun to lead last, of those that run.
cluster_leader() {
  local dir=$1 pid name
  for pid in "$dir"/[am]*.pid; do
    [ -e "$pid" ] || continue
    name=$(basename "$pid" .pid)
    sed -n "s/.*leading: decides commits epoch=\([0-9]*\).*/\1 $name/p" "$dir/$name.log"
  done | sort -n | tail -1 | cut -d' ' -f2
}

# cluster_start_etcds DIR N: sets endpoints, of the caller's; also in a file, for cluster_await_well
cluster_start_etcds() {
  local dir=$1 i clients=() peers=() members=() initial=""
  endpoints=""
  for ((i = 1; i <= $2; i++)); do
    clients+=("http://127.0.0.1:$(free_port)") peers+=("http://127.0.0.1:$(free_port)")
    endpoints+=,etcd:${clients[-1]#http://} initial+=,e$i=${peers[-1]}
  done
  endpoints=${endpoints#,}
  echo "$endpoints" | as_user tee "$dir/endpoints" >/dev/null
  for ((i = 1; i <= $2; i++)); do
    cluster_command "$dir" "e$i" etcd --name "e$i" --data-dir "$dir/e$i" --listen-client-urls "${clients[i - 1]}" \
      --advertise-client-urls "${clients[i - 1]}" --listen-peer-urls "${peers[i - 1]}" --initial-advertise-peer-urls "${peers[i - 1]}" \
      --initial-cluster "${initial#,}"
    members+=("e$i")
  done
  # They wait for each other.
  for i in "${members[@]}"; do cluster_start "$dir" "$i" & done
  wait
}

# cluster_new_id DIR: the id of a cluster, for those that join it, and for cluster_await_well
cluster_new_id() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | as_user tee "$1/cluster_id"; }

# cluster_await_well DIR: until all have what the others have
cluster_await_well() {
  for ((try = 0; try < 300; try++)); do
    ! concordctl cluster status --metastore "$(<"$1/endpoints")" --cluster "$(<"$1/cluster_id")" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  concordctl cluster status --metastore "$(<"$1/endpoints")" --cluster "$(<"$1/cluster_id")" >&2
}

# cluster_init DIR ETCDS JOURNALS ADJUDICATORS STORAGES: makes and starts all of them
cluster_init() {
  local dir=$1 i id endpoints journals=()
  cluster_start_etcds "$dir" "$2"

  id=$(cluster_new_id "$dir")
  local common=("--join-cluster=$id") metastore=("--metastore=$endpoints")
  for ((i = 1; i <= $3; i++)); do
    cluster_command "$dir" "j$i" "$(concord_bin)/concordd" --roles journal --dir "$dir/j$i" "${common[@]}"
    cluster_start "$dir" "j$i"
    journals+=("$(sed -n 's/^id //p' "$dir/j$i/node_id")=$(member_socket "$dir" "j$i")")
  done
  concordctl cluster init "${metastore[@]}" --cluster "$id" --write-quorum $(($3 / 2 + 1)) \
    --journal "$(IFS=,; echo "${journals[*]}")"
  for ((i = 1; i <= $4; i++)); do
    cluster_command "$dir" "a$i" "$(concord_bin)/concordd" --roles adjudicator --dir "$dir/a$i" "${common[@]}" "${metastore[@]}"
    cluster_start "$dir" "a$i"
  done
  for ((i = 1; i <= $5; i++)); do
    cluster_command "$dir" "s$i" "$(concord_bin)/concordd" --roles storage --dir "$dir/s$i" "${common[@]}" "${metastore[@]}"
    cluster_start "$dir" "s$i"
    concordctl storage add "$(sed -n 's/^id //p' "$dir/s$i/node_id")=$(member_socket "$dir" "s$i")" "${metastore[@]}" --cluster "$id" >/dev/null
  done
}

# cluster_init_machines DIR ETCDS MACHINES: as cluster_init, with all three roles in one process a machine: m1, ...
cluster_init_machines() {
  local dir=$1 i id endpoints journals=()
  cluster_start_etcds "$dir" "$2"
  id=$(cluster_new_id "$dir")
  for ((i = 1; i <= $3; i++)); do
    cluster_command "$dir" "m$i" "$(concord_bin)/concordd" --roles adjudicator,journal,storage --dir "$dir/m$i" --join-cluster "$id" --metastore "$endpoints"
    cluster_launch "$dir" "m$i"
    for ((try = 0; try < 100; try++)); do [ ! -s "$dir/m$i/node_id" ] || break; sleep 0.1; done
    [ -s "$dir/m$i/node_id" ] || { tail -20 "$dir/m$i.log" >&2; return 1; }
    journals+=("$(sed -n 's/^id //p' "$dir/m$i/node_id")=$(member_socket "$dir" "m$i")")
  done
  concordctl cluster init --metastore "$endpoints" --cluster "$id" --write-quorum $(($3 / 2 + 1)) --journal "$(IFS=,; echo "${journals[*]}")"
  for ((i = 1; i <= $3; i++)); do
    cluster_await "$dir" "m$i"
    concordctl storage add "${journals[i - 1]}" --metastore "$endpoints" --cluster "$id" >/dev/null
  done
}

# cluster_server_conf DIR [NAME]: the settings of a server that uses the cluster: it reads a replica, NAME's or the first, through its files, and
# the others if that does not serve.
cluster_server_conf() {
  local dir=$1 command addresses="" storages="${2:+,$(member_socket "$1" "$2")}"
  for command in "$dir"/[am]*.command; do addresses+=,$(member_socket "$dir" "$(basename "$command" .command)"); done
  for command in "$dir"/[sm]*.command; do
    [ "$(basename "$command" .command)" = "${2:-}" ] || storages+=,$(member_socket "$dir" "$(basename "$command" .command)")
  done
  cat <<CONF
concord.embedded = off
concord.address = '${addresses#,}'
concord.storage_address = '${storages#,}'
CONF
}

cluster_stop() {
  local pid
  for pid in "$1"/[amsj]*.pid "$1"/e*.pid; do
    [ ! -e "$pid" ] || cluster_kill "$1" "$(basename "$pid" .pid)" TERM
  done
}
