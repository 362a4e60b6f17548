# What the demos share; sourced by demo.sh and cluster_demo.sh, after server.sh. `kind` is in the name of the directory and of the file that
# remembers it: demo or cluster.
state=${XDG_RUNTIME_DIR:-/tmp}/concord-$([ "$kind" = demo ] || echo "$kind-")demo-$(id -u)
started=$(date +%s)
die() { echo "$(basename "$0"): $*" >&2; exit 1; }
step() { printf '\n[%3ds] %s\n' $(($(date +%s) - started)) "$*"; }

# demo_stop FUNCTION: FUNCTION DIRECTORY ends what runs there. What is removed is named in a file, which in /tmp anybody could have put there.
demo_stop() {
  [ -e "$state" ] || [ -L "$state" ] || { echo "no demo is running"; return 0; }
  [ -f "$state" ] && [ ! -L "$state" ] && [ -O "$state" ] || die "$state is not a file of yours; nothing is stopped"
  local dir; dir=$(<"$state")
  [[ $dir =~ ^/.*/concord-$kind\.[A-Za-z0-9]+$ ]] || die "$state names no directory of a demo; nothing is stopped"
  [ ! -d "$dir" ] || { "$1" "$dir"; rm -rf "$dir"; }
  rm -f "$state"
  echo "demo $([ "$kind" = demo ] && echo server || echo "$kind") stopped and removed"
}

# Installs, builds, and makes the directory `dir`.
demo_prepare() {
  step "installing Debian packages (only what is missing)"
  scripts/deps.sh
  step "building (a few minutes the first time)"
  make --no-print-directory all
  step "installing the extension"
  make --no-print-directory install
  dir=$(scratch_directory "$kind")
  (set -C; echo "$dir" >"$state") || { rm -rf "$dir"; die "$state cannot be written"; }
}
