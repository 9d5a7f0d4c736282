#!/usr/bin/env bash
# Runs a command on all workers of a Cloud TPU slice.
#
# usage: launch/tpu.sh ACTION --name NAME --zone ZONE [options] [-- COMMAND ...]
#
#   all        create, copy, install, run and logs
#   create     the slice; waits until it is there
#   copy       this checkout as it is now, without what git ignores
#   install    a virtual environment with bst_jax[tpu], and the bucket
#   run        starts COMMAND on all workers and returns
#   logs       follows the first worker; ends with the command's code
#   stop       SIGTERM: the run saves and ends with 130
#   delete     the slice
#
#   --accelerator TYPE   v5litepod-16, v5p-32, v6e-64, ... (create)
#   --project PROJECT    (gcloud's)
#   --version VERSION    of the image (the accelerator's)
#   --queued             asks by a queued resource, and waits until it is ACTIVE
#   --valid_until 6h     after which a queued request that waits is given up
#   --spot               cheaper; may be taken away at any time
#   --bucket BUCKET      mounted on /mnt/bst_jax of all workers; a slice of more
#                        than one host needs such a place for its --workdir
#   --python VERSION     (3.12)
#   --compilation_cache DIR  none for none (/mnt/bst_jax/compilation_cache where
#                        there is a bucket; else on the worker's own disk)
#   --delete_on_exit     `all` deletes the slice that it made however it ends;
#                        a run that still goes on is stopped, saved, first
#   --dry_run            prints the commands and runs nothing
#
#   launch/tpu.sh all --name a --zone us-west4-a --accelerator v5litepod-16 \
#       --queued --spot --bucket my-bucket --delete_on_exit -- \
#       python -m bst_jax.train --config configs/bst_mcan_vqa.py \
#       --workdir /mnt/bst_jax/runs/a
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ACTIONS=(all create copy install run logs stop delete)
OPTION+=([name]="" [zone]="" [accelerator]="" [project]="" [version]=""
         [queued]=false [valid_until]="" [spot]=false [bucket]=""
         [python]=3.12 [compilation_cache]="" [delete_on_exit]=false)
parse "$@"
required name zone
name=${OPTION[name]}
here=("--zone=${OPTION[zone]}")
[[ -z ${OPTION[project]} ]] || here+=("--project=${OPTION[project]}")
tpu=(gcloud compute tpus tpu-vm)
queue=(gcloud compute tpus queued-resources)
PAUSE=${BST_JAX_PAUSE:-30}  # Seconds between two tries.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ $ACTION == all || $ACTION == run ]]; then
  required_command
elif ((${#COMMAND[@]})); then
  die "$ACTION takes no command; run and all do."
fi
if [[ ${OPTION[delete_on_exit]} == true && $ACTION != all ]]; then
  die '--delete_on_exit goes with all; otherwise use delete.'
fi
if [[ -n ${OPTION[valid_until]} && ${OPTION[queued]} == false ]]; then
  die '--valid_until goes with --queued.'
fi
if [[ ${OPTION[bucket]} == *:* ]]; then
  die "--bucket is a name without gs://, not '${OPTION[bucket]}'."
fi
if [[ $ACTION == all || $ACTION == create ]]; then
  required accelerator
  version=${OPTION[version]}
  if [[ -z $version ]]; then
    case ${OPTION[accelerator]} in
      v2-* | v3-* | v4-*) version="tpu-ubuntu2204-base" ;;
      v5litepod-*) version="v2-alpha-tpuv5-lite" ;;
      v5p-*) version="v2-alpha-tpuv5" ;;
      v6e-*) version="v2-alpha-tpuv6e" ;;
      *) die "no image is known for --accelerator ${OPTION[accelerator]}," \
        'only for v2-, v3-, v4-, v5litepod-, v5p- and v6e- with a size after' \
        'them; name one by --version.' ;;
    esac
  fi
fi

on_worker() {  # WORKER ARGS of tpu_worker.sh...
  run "${tpu[@]}" ssh "$name" "${here[@]}" "--worker=$1" \
    "--command=$(quoted bash bst_jax/launch/tpu_worker.sh "${@:2}")"
}

again() {  # ACTION: the command line that does it to this slice.
  local queued=()
  [[ ${OPTION[queued]} == false ]] || queued=(--queued)
  quoted "$0" "$1" "--name=$name" "${here[@]}" "${queued[@]}"
}

create() {
  local options=("${here[@]}" "--accelerator-type=${OPTION[accelerator]}")
  local made=("${tpu[@]}")
  [[ ${OPTION[spot]} == false ]] || options+=(--spot)
  if [[ ${OPTION[queued]} == true ]]; then
    made=("${queue[@]}")
    options+=("--runtime-version=$version" "--node-id=$name")
    [[ -z ${OPTION[valid_until]} ]] ||
      options+=("--valid-until-duration=${OPTION[valid_until]}")
  else
    options+=("--version=$version")
  fi
  # What is there already is not ours, and not ours to delete.
  if run "${made[@]}" describe "$name" "${here[@]}" '--format=value(name)' \
    2>/dev/null && ! dry; then
    die "$name exists already in ${OPTION[zone]}: take another --name, or go" \
      'on with it by copy, install and run.'
  fi
  created=true
  run "${made[@]}" create "$name" "${options[@]}"
  [[ ${OPTION[queued]} == false ]] || wait_active
}

wait_active() {
  local state before=
  while :; do
    if dry; then
      run "${queue[@]}" describe "$name" "${here[@]}" \
        '--format=value(state.state)'
      return
    fi
    state=$("${queue[@]}" describe "$name" "${here[@]}" \
      '--format=value(state.state)') || state=unknown
    [[ $state == "$before" ]] || say "$name is $state"
    before=$state
    case $state in
      ACTIVE) return ;;
      FAILED | SUSPENDING | SUSPENDED | DELETING)
        say "error: the request for $name ended as $state; see" \
          "$(quoted "${queue[@]}" describe "$name" "${here[@]}")"
        exit 1 ;;
    esac
    sleep "$PAUSE"
  done
}

# Runs the arguments again where they fail: a new worker may not answer yet.
patiently() {
  local tries status
  for tries in 1 2 3 4 5; do
    status=0
    run "$@" || status=$?
    ((status)) || return 0
    say "no answer ($tries)"
    sleep "$PAUSE"
  done
  return "$status"
}

copy() {
  local file=${TMPDIR:-/tmp}/bst_jax_$name.tar.gz pack
  pack="$(quoted git -C "$root" ls-files -z --cached --others \
    --exclude-standard) | $(quoted tar -C "$root" --null --files-from=- \
    --ignore-failed-read -czf "$file")"
  if dry; then echo "$pack"; else eval "$pack"; fi
  patiently "${tpu[@]}" scp "$file" "$name:bst_jax.tar.gz" "${here[@]}" \
    --worker=all
  run "${tpu[@]}" ssh "$name" "${here[@]}" --worker=all "--command=rm -rf \
bst_jax && mkdir bst_jax && tar -xzf bst_jax.tar.gz -C bst_jax"
  run rm "$file"
}

install() {
  local bucket=()
  [[ -z ${OPTION[bucket]} ]] || bucket=("${OPTION[bucket]}")
  on_worker all install "${OPTION[python]}" "${bucket[@]}"
}

start() {
  add_flags --multihost
  if [[ -n ${OPTION[bucket]} ]]; then
    add_cache /mnt/bst_jax/compilation_cache
  else
    add_cache ../bst_jax_run/compilation_cache  # From the checkout.
  fi
  started=true
  on_worker all run -- "${COMMAND[@]}"
}

follow() {
  local status=0 lines=+1 tries
  for tries in 1 2 3 4 5; do
    status=0
    on_worker 0 logs "$lines" || status=$?
    # ssh's own code: the connection was lost, and the run goes on.
    ((status == 255)) || break
    say "connection lost ($tries)"
    lines=0
    sleep "$PAUSE"
  done
  ((status == 255)) || started=false
  return "$status"
}

delete() {
  if [[ ${OPTION[queued]} == true ]]; then
    run "${queue[@]}" delete "$name" "${here[@]}" --force --quiet
  else
    run "${tpu[@]}" delete "$name" "${here[@]}" --quiet
  fi
}

# What is still being made cannot be deleted at once.
delete_surely() {
  local tries
  for tries in 1 2 3 4 5; do
    delete && return
    say "$name could not be deleted ($tries)"
    sleep "$PAUSE"
  done
  say "error: $name COULD NOT BE DELETED; if it is there, it costs money" \
    "until this works: $(again delete)"
}

created=false  # By this script, now.
started=false  # And not known to have ended.

# shellcheck disable=SC2329  # The trap calls it.
leave() {
  local status=$?
  trap '' INT TERM  # A second Ctrl-C must not leave the slice behind.
  if [[ $created == true && ${OPTION[delete_on_exit]} == true ]]; then
    if [[ $started == true ]]; then
      on_worker all stop || true
    fi
    delete_surely
  elif [[ $ACTION != delete ]] && ! dry; then
    say "$name is left as it is, and billed if it is there; to end it:" \
      "$(again delete)"
  fi
  exit "$status"
}
trap 'leave' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

case $ACTION in
  all) create; copy; install; start; follow ;;
  run) start ;;
  logs) follow ;;
  stop) on_worker all stop ;;
  *) "$ACTION" ;;
esac
