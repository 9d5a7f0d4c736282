#!/usr/bin/env bash
# Runs a command on all processes of a Slurm job; slurm.sh submits it.
#
# usage: launch/slurm_job.sh [--gpus_per_process N] [--dry_run]
#            [--grace SECONDS] -- COMMAND ARGS...
#
# On SIGTERM, which --signal=B:TERM@120 sends ahead of the time limit, the
# processes are told; once they have saved and ended with 130, the job goes back
# to the queue and will go on from there. Where one process fails, the others
# have --grace seconds (60) to end.
set -euo pipefail

# Slurm runs a copy of this file from elsewhere, so that it sources nothing.
dry_run=false gpus=0 grace=60
while (($#)); do
  case $1 in
    --help | -h) sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    --dry_run) dry_run=true ;;
    --gpus_per_process) gpus=${2:-}; shift ;;
    --grace) grace=${2:-}; shift ;;
    --) break ;;
    *) echo "error: there is no option $1; --help lists them" >&2; exit 2 ;;
  esac
  shift
done
if (($# < 2)); then
  echo 'error: give the command to run after --.' >&2
  exit 2
fi
shift

# Not --kill-on-bad-exit: it would kill those that are still saving when the
# first one ends with 130.
step=(srun --label "--wait=$grace" --kill-on-bad-exit=0)
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  step+=("--cpus-per-task=$SLURM_CPUS_PER_TASK")  # srun does not inherit it.
fi
if ((gpus > 1)); then
  # Under Slurm jax takes one GPU a process unless it is told which ones.
  ids=$(seq -s, 0 $((gpus - 1)))
  step=(env "JAX_LOCAL_DEVICE_IDS=$ids" "${step[@]}")
fi
if [[ $dry_run == true ]]; then
  printf '%q ' "${step[@]}" "$@"
  echo
  exit 0
fi

told=false
# shellcheck disable=SC2329  # The trap calls it.
tell() {
  # A job that somebody cancelled must not come back.
  state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T || true)
  [[ $state == RUNNING ]] && told=true
  echo "told to stop while $state; telling the processes" >&2
  # Not kill: srun takes a SIGTERM as the order to kill its processes. Without
  # --batch or --full, this reaches them and not this script.
  scancel --signal=TERM "$SLURM_JOB_ID" || true
}
trap 'tell' TERM

"${step[@]}" "$@" &
srun=$!
# Not wait alone: the signal would end it.
while kill -0 "$srun" 2>/dev/null; do
  sleep 1 || true
done
code=0
wait "$srun" || code=$?

if [[ $code == 130 && $told == true ]]; then
  echo 'saved; back to the queue' >&2
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
