#!/usr/bin/env bash
# Runs a command as several processes of this machine that join each other.
#
# usage: launch/local.sh [options] -- COMMAND ARGS...
#
#   --processes N            how many (2)
#   --logs DIR               a log file each (runs/local/DATE_TIME); the first
#                            one's output is shown too
#   --port PORT              where the first one listens (a free one)
#   --grace SECONDS          how long the others have to end after one of them
#                            failed, before they are killed (30)
#   --compilation_cache DIR  kept between runs; none for none
#                            (runs/compilation_cache)
#   --dry_run                prints the commands and runs nothing
#
# Ctrl-C or SIGTERM stops all of them, saved; Ctrl-C again stops them at once.
# Ends with the code of the first one that failed, 0 if none did.
#
#   launch/local.sh --processes 2 -- python -m bst_jax.train \
#       --config configs/quickstart.py:tiny --workdir runs/two
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

OPTION+=([processes]=2 [logs]="" [port]="" [grace]=30 [compilation_cache]="")
parse "$@"
required_command
whole processes 1
whole grace 0
[[ -z ${OPTION[port]} ]] || whole port 1

count=${OPTION[processes]}
logs=${OPTION[logs]:-runs/local/$(date +%Y%m%d_%H%M%S)}
port=${OPTION[port]:-$(python3 -c '
import socket
with socket.socket() as s:
  s.bind(("localhost", 0))
  print(s.getsockname()[1])')}
add_flags --multihost "--coordinator=localhost:$port" "--num_processes=$count"
add_cache runs/compilation_cache

if dry; then
  quoted mkdir -p "$logs"
  for ((i = 0; i < count; i++)); do
    echo "$(quoted "${COMMAND[@]}" "--process_id=$i")" \
      "> $(quoted "$logs/process_$i.log") 2>&1 &"
  done
  echo wait
  exit 0
fi

pids=()     # Those that run, by process id.
groups=()   # All that ever ran: a process may leave data workers behind.
signals=0   # How often this script was told to stop.
first=0     # Code of the first one that failed,
deadline=   # and when the others are killed.

send() {  # SIGNAL
  ((${#pids[@]})) && kill -s "$1" "${pids[@]}" 2>/dev/null
  return 0
}

send_groups() {  # SIGNAL
  local pid
  for pid in "${groups[@]}"; do
    kill -s "$1" -- "-$pid" 2>/dev/null || true
  done
}

# shellcheck disable=SC2329  # The trap calls it.
stop() {
  signals=$((signals + 1))
  case $signals in
    1) say 'Stopping; Ctrl-C again stops at once.'; send TERM ;;
    2) send INT ;;
    *) send_groups KILL ;;
  esac
}

# Of the processes that have ended: notes the code, and tells the others.
reap() {
  local i code
  for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null && continue
    code=0
    wait "${pids[i]}" || code=$?
    unset 'pids[i]'
    ((code == 0)) && continue
    say "process $i ended with $code; see $logs/process_$i.log"
    ((first)) && continue
    first=$code
    deadline=$((SECONDS + OPTION[grace]))
    # After 130 the others are saving too, and must not be disturbed.
    ((code == 130)) || send TERM
  done
}

mkdir -p "$logs"
say "$count processes, logs in $logs"
trap 'stop' INT TERM
trap 'send_groups KILL' EXIT
# The trap comes first: what stops the others must not stop their log.
exec {screen}> >(trap '' INT TERM; exec tee "$logs/process_0.log")
tee=$!
for ((i = 0; i < count; i++)); do
  out=$screen
  ((i == 0)) || exec {out}>"$logs/process_$i.log"
  set -m  # A group of its own, which Ctrl-C does not reach behind our back.
  "${COMMAND[@]}" "--process_id=$i" </dev/null >&"$out" 2>&1 {screen}>&- &
  set +m
  pids[i]=$! groups+=($!)
done
exec {screen}>&-

while ((${#pids[@]})); do
  sleep 0.2 || true
  reap
  if [[ -n $deadline && ${#pids[@]} -gt 0 ]] && ((SECONDS > deadline)); then
    say "killing what still runs after ${OPTION[grace]} s"
    send_groups KILL
    deadline=
  fi
done
send_groups KILL
trap - EXIT
wait "$tee" || true
exit "$first"
