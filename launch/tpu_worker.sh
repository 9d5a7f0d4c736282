#!/usr/bin/env bash
# What tpu.sh does on every worker of a slice.
#
# usage: launch/tpu_worker.sh ACTION [ARGS...]
#
#   install PYTHON [BUCKET]  a virtual environment with bst_jax[tpu]; mounts the
#                            bucket on /mnt/bst_jax
#   run -- COMMAND ARGS...   starts the command and returns
#   logs                     follows it to its end, whose code is this one's
#   stop                     SIGTERM, and waits until it has saved and ended
#
# All of it lives in ~/bst_jax_run; the checkout is the folder above this one.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${BST_JAX_RUN:-$HOME/bst_jax_run}
log=$home/log pid=$home/pid code=$home/code

runs() { [[ -e $pid && ! -e $code ]] && kill -0 "$(cat "$pid")" 2>/dev/null; }

install() {
  local python=$1 bucket=${2:-}
  if [[ -n $bucket ]]; then
    mount_bucket "$bucket"
  fi
  # The image's own Python may be older than what bst_jax needs.
  python3 -m pip install --quiet --user uv
  python3 -m uv venv --quiet --clear --seed --python "$python" "$home/venv"
  "$home/venv/bin/pip" install --quiet "${checkout}[tpu]"
}

mount_bucket() {
  local keys=/usr/share/keyrings/cloud.google.asc
  if ! command -v gcsfuse >/dev/null; then
    curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg |
      sudo tee "$keys" >/dev/null
    echo "deb [signed-by=$keys] https://packages.cloud.google.com/apt" \
      "gcsfuse-$(lsb_release -cs) main" |
      sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    sudo apt-get update -qq
    sudo apt-get install -qq -y gcsfuse
  fi
  mountpoint -q /mnt/bst_jax && return
  sudo mkdir -p /mnt/bst_jax
  sudo chown "$USER" /mnt/bst_jax
  gcsfuse --implicit-dirs "$1" /mnt/bst_jax
}

start() {
  if runs; then
    echo "error: a command runs here already; stop it first" >&2
    exit 2
  fi
  rm -f "$pid" "$code"
  # It goes on when the connection ends.
  PATH=$home/venv/bin:$PATH setsid nohup bash "${BASH_SOURCE[0]}" hold "$@" \
    >"$log" 2>&1 </dev/null &
  until [[ -e $pid ]]; do sleep 0.1; done
}

# Runs the command in the checkout and leaves its code behind.
hold() {
  local status=0
  cd "$checkout"
  "$@" &
  echo "$!" >"$pid.part"
  mv "$pid.part" "$pid"
  wait "$!" || status=$?
  echo "$status" >"$code.part"
  mv "$code.part" "$code"
}

follow() {
  local tail
  if [[ ! -e $log ]]; then
    echo 'error: nothing was run here' >&2
    exit 2
  fi
  tail -n "${1:-+1}" -f "$log" &
  tail=$!
  while [[ ! -e $code ]]; do
    runs || sleep 2  # The code may be on its way.
    if [[ ! -e $code ]] && ! runs; then
      echo 137 >"$code"  # The worker was started again, without the command.
    fi
    sleep 0.5
  done
  sleep 1  # For the last lines.
  kill "$tail"
  exit "$(cat "$code")"
}

stop() {
  runs || return 0
  kill -TERM "$(cat "$pid")"
  for ((i = 0; i < 300; i++)); do
    [[ -e $code ]] && return
    sleep 1
  done
  echo 'error: it has not ended after 300 s' >&2
  exit 1
}

action=${1:---help}
mkdir -p "$home"
case $action in
  install) install "${@:2}" ;;
  run)
    if [[ ${2:-} != -- || $# -lt 3 ]]; then
      echo 'error: give the command to run after --.' >&2
      exit 2
    fi
    start "${@:3}" ;;
  hold) hold "${@:2}" ;;  # Only `run` asks for it.
  logs) follow "${2:-}" ;;
  stop) stop ;;
  --help | -h) sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0" ;;
  *)
    echo "error: '$action' is none of install, run, logs, stop" >&2
    exit 2 ;;
esac
