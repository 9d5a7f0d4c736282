#!/usr/bin/env bash
# Submits a command to Slurm on GPU nodes; jax finds its peers by itself.
#
# usage: launch/slurm.sh [options] -- COMMAND ARGS...
#
#   --nodes N                how many (1)
#   --gpus_per_node N        (8); 0 for nodes without GPUs
#   --process_per node|gpu   one process a node, which has all its GPUs, or one
#                            a GPU (node)
#   --cpus_per_gpu N         for decoding pictures (8); with --gpus_per_node 0,
#                            of a process
#   --time D-HH:MM:SS        limit of a job; one that reaches it saves and goes
#                            back to the queue (what the partition says)
#   --warning SECONDS        how long before the limit it is told (120)
#   --name NAME              (bst_jax)
#   --partition NAME --account NAME
#   --sbatch 'OPTIONS'       more options of sbatch, separated by spaces
#   --logs DIR               (runs/slurm)
#   --compilation_cache DIR  on a disk that all nodes see; none for none
#                            (runs/compilation_cache)
#   --dry_run                prints the commands and runs nothing
#
# Workdir, data and this checkout must be on a disk that all nodes see.
#
#   launch/slurm.sh --nodes 2 --time 12:00:00 -- python -m bst_jax.train \
#       --config configs/bst_mcan_vqa.py --workdir runs/a
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

OPTION+=([nodes]=1 [gpus_per_node]=8 [process_per]=node [cpus_per_gpu]=8
         [time]="" [warning]=120 [name]=bst_jax [partition]="" [account]=""
         [sbatch]="" [logs]=runs/slurm [compilation_cache]="")
parse "$@"
required_command
whole nodes 1
whole gpus_per_node 0
whole cpus_per_gpu 1
whole warning 1
gpus=${OPTION[gpus_per_node]}
case ${OPTION[process_per]} in
  node) tasks=1 ;;
  gpu) tasks=$gpus ;;
  *) die "--process_per is node or gpu, not '${OPTION[process_per]}'." ;;
esac
((tasks)) || die '--process_per gpu needs GPUs, and --gpus_per_node is 0.'

add_flags --multihost
add_cache runs/compilation_cache

gpus_each=$((gpus / tasks))
options=(
  "--job-name=${OPTION[name]}"
  "--nodes=${OPTION[nodes]}"
  "--ntasks-per-node=$tasks"
  "--cpus-per-task=$((OPTION[cpus_per_gpu] * (gpus_each > 1 ? gpus_each : 1)))"
  # Only the script is told; it tells the processes and sees how they end.
  "--signal=B:TERM@${OPTION[warning]}"
  --requeue
  --open-mode=append
  "--output=${OPTION[logs]}/%x_%j.log"
)
((gpus == 0)) || options+=("--gpus-per-node=$gpus")
for name in time partition account; do
  [[ -z ${OPTION[$name]} ]] || options+=("--$name=${OPTION[$name]}")
done
read -ra more <<<"${OPTION[sbatch]}"

run mkdir -p "${OPTION[logs]}"
run sbatch "${options[@]}" "${more[@]}" \
  "$(dirname "${BASH_SOURCE[0]}")/slurm_job.sh" \
  --gpus_per_process "$gpus_each" -- "${COMMAND[@]}"
