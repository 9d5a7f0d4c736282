#!/usr/bin/env bash
# Runs a command on TPU slices of a GKE cluster that has JobSet.
#
# usage: launch/gke.sh ACTION --name NAME [options] [-- COMMAND ARGS...]
#
#   run      creates the JobSet and follows it to its end
#   render   prints the manifest
#   logs     follows the first process; ends with 0 if the run completed
#   delete   the JobSet; its processes get SIGTERM and save
#
#   --namespace NAME        (default)
#   --image IMAGE           launch/Dockerfile, built and pushed
#   --accelerator TYPE      tpu-v4-podslice, tpu-v5-lite-podslice,
#                           tpu-v5p-slice, tpu-v6e-slice or tpu7x
#   --topology AxB[xC]      of a slice, in chips: 4x4, 2x2x4, ...
#   --chips_per_host N      of the node pool's machines (4, or all of a smaller
#                           slice; 8 where a 2x4 is one machine)
#   --slices N              (1)
#   --spot                  only spot nodes
#   --bucket BUCKET         mounted on /mnt/bst_jax; --workdir goes there
#   --service_account NAME  of Kubernetes, which may read and write the bucket
#                           (default)
#   --max_restarts N        how often a run that was cut off begins again from
#                           its checkpoint (10); wrong input and a loss that is
#                           not finite end it at once
#   --grace SECONDS         to save after SIGTERM (120)
#   --compilation_cache DIR none for none (/mnt/bst_jax/compilation_cache)
#   --delete_on_exit        `run` deletes the JobSet however it ends
#   --dry_run               prints the commands and runs nothing
#
#   launch/gke.sh run --name a --image REGISTRY/bst_jax --bucket my-bucket \
#       --accelerator tpu-v5-lite-podslice --topology 4x4 --delete_on_exit -- \
#       python -m bst_jax.train --config configs/bst_mcan_vqa.py \
#       --workdir /mnt/bst_jax/runs/a
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ACTIONS=(run render logs delete)
OPTION+=([name]="" [namespace]=default [image]="" [accelerator]=""
         [topology]="" [chips_per_host]="" [slices]=1 [spot]=false [bucket]=""
         [service_account]=default [max_restarts]=10 [grace]=120
         [compilation_cache]="" [delete_on_exit]=false)
parse "$@"
required name
name=${OPTION[name]}
here=("--namespace=${OPTION[namespace]}")
FIRST=jobset.sigs.k8s.io/jobset-name=$name,jobset.sigs.k8s.io/job-index=0
FIRST+=,batch.kubernetes.io/job-completion-index=0
PAUSE=${BST_JAX_PAUSE:-10}  # Seconds between two looks.
# Kubernetes' limit is 63 for a pod's name, which adds -slice-N-N-RANDOM.
[[ $name =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] ||
  die "--name is up to 40 of a-z, 0-9 and -, from a letter on, not '$name'."
if [[ ${OPTION[delete_on_exit]} == true && $ACTION != run ]]; then
  die '--delete_on_exit goes with run; otherwise use delete.'
fi

# The argument as a string of YAML (which takes JSON's).
text() {
  local value=${1//\\/\\\\}
  value=${value//\"/\\\"} value=${value//$'\n'/\\n} value=${value//$'\t'/\\t}
  value=${value//\$(/\$\$(}  # Kubernetes would put a variable there.
  printf '"%s"' "$value"
}

# Sets chips (of a slice), chips_per_host and hosts (of a slice).
layout() {
  local topology=${OPTION[topology]} dims
  case ${OPTION[accelerator]} in
    tpu-v5-lite-podslice | tpu-v6e-slice) dims=2 ;;
    tpu-v4-podslice | tpu-v5p-slice | tpu7x) dims=3 ;;
    *) die "there is no --accelerator '${OPTION[accelerator]}'; there are" \
      'tpu-v4-podslice, tpu-v5-lite-podslice, tpu-v5p-slice, tpu-v6e-slice' \
      'and tpu7x.' ;;
  esac
  [[ $topology =~ ^[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){$((dims - 1))}$ ]] ||
    die "--topology of ${OPTION[accelerator]} has $dims sizes, such as" \
      "$( ((dims == 2)) && echo 4x4 || echo 2x2x4), not '$topology'."
  chips=$((${topology//x/*}))
  chips_per_host=${OPTION[chips_per_host]:-$((chips < 4 ? chips : 4))}
  OPTION[chips_per_host]=$chips_per_host
  whole chips_per_host 1
  ((chips % chips_per_host == 0)) ||
    die "a $topology slice has $chips chips, which $chips_per_host a host do" \
      'not divide; name another --chips_per_host.'
  hosts=$((chips / chips_per_host))
}

manifest() {
  local word
  cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: "$name"
  namespace: "${OPTION[namespace]}"
  annotations:
    # A slice, which is a node pool, takes one job at a time.
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: ${OPTION[max_restarts]}
    rules:
      - name: hopeless
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: slice
      replicas: ${OPTION[slices]}
      template:
        spec:
          completionMode: Indexed
          parallelism: $hosts
          completions: $hosts
          backoffLimit: 0
          podFailurePolicy:
            rules:
              # Wrong input, and a number that is not finite: a second try would
              # end the same way. Everything else begins again.
              - action: FailJob
                onExitCodes:
                  operator: In
                  values: [2, 3]
          template:
            metadata:
              annotations:
                gke-gcsfuse/volumes: "true"
            spec:
              restartPolicy: Never
              serviceAccountName: "${OPTION[service_account]}"
              terminationGracePeriodSeconds: ${OPTION[grace]}
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: ${OPTION[accelerator]}
                cloud.google.com/gke-tpu-topology: "${OPTION[topology]}"
END
  [[ ${OPTION[spot]} == false ]] || cat <<END
                cloud.google.com/gke-spot: "true"
              tolerations:
                - key: cloud.google.com/gke-spot
                  operator: Equal
                  value: "true"
                  effect: NoSchedule
END
  cat <<END
              containers:
                - name: bst-jax
                  image: "${OPTION[image]}"
                  command:
END
  for word in "${COMMAND[@]}"; do
    echo "                    - $(text "$word")"
  done
  cat <<END
                  resources:
                    requests:
                      google.com/tpu: $chips_per_host
                    limits:
                      google.com/tpu: $chips_per_host
                  volumeMounts:
                    - name: bucket
                      mountPath: /mnt/bst_jax
                    - name: shared-memory
                      mountPath: /dev/shm
              volumes:
                - name: bucket
                  csi:
                    driver: gcsfuse.csi.storage.gke.io
                    volumeAttributes:
                      bucketName: "${OPTION[bucket]}"
                      mountOptions: implicit-dirs
                # The data workers hand over batches in it; else it has 64 MB.
                - name: shared-memory
                  emptyDir:
                    medium: Memory
END
}

if [[ $ACTION == run || $ACTION == render ]]; then
  required_command
  required image accelerator topology bucket
  whole slices 1
  whole max_restarts 0
  whole grace 1
  for option in namespace image bucket service_account; do
    [[ ${OPTION[$option]} =~ ^[a-zA-Z0-9][a-zA-Z0-9@:._/-]*$ ]] ||
      die "--$option cannot be '${OPTION[$option]}'."
  done
  [[ ${OPTION[bucket]} != *:* ]] ||
    die "--bucket is a name without gs://, not '${OPTION[bucket]}'."
  for word in "${COMMAND[@]}"; do
    [[ ${word//[$'\n\t']/} != *[[:cntrl:]]* ]] ||
      die "a control character in the command's ${word@Q}."
  done
  layout
  add_flags --multihost
  add_cache /mnt/bst_jax/compilation_cache
elif ((${#COMMAND[@]})); then
  die "$ACTION takes no command; run and render do."
fi

created=false  # By this script, now.

create() {
  local there=(kubectl get jobset "$name" "${here[@]}" --ignore-not-found
    --output=name)
  if dry; then
    quoted "${there[@]}"
    echo "kubectl create --filename=- <<'END'"
    manifest
    echo END
    created=true
    return
  fi
  # What is there already is not ours, and not ours to delete.
  [[ -z $("${there[@]}") ]] ||
    die "$name exists already; take another --name, or delete it first."
  created=true
  manifest | run kubectl create --filename=-
}

# Follows the first process, also when it begins again.
follow() {
  local state misses=0 since=()
  local logs=(kubectl logs --follow "${here[@]}" --tail=-1 "--selector=$FIRST")
  local look=(kubectl get jobset "$name" "${here[@]}"
    '--output=jsonpath={.status.terminalState}')
  if dry; then
    run "${logs[@]}"
    run "${look[@]}"
    return
  fi
  while ((misses < 20)); do
    "${logs[@]}" "${since[@]}" || true  # It may not be there yet.
    since=("--since-time=$(date -u +%Y-%m-%dT%H:%M:%SZ)")
    if state=$("${look[@]}"); then misses=0; else misses=$((misses + 1)); fi
    case $state in
      Completed) say "$name completed"; return 0 ;;
      Failed) say "$name failed"; return 1 ;;
    esac
    sleep "$PAUSE"
  done
  say "error: the cluster does not answer"
  return 1
}

delete() { run kubectl delete jobset "$name" "${here[@]}"; }

# shellcheck disable=SC2329  # The trap calls it.
leave() {
  local status=$? remedy
  trap '' INT TERM  # A second Ctrl-C must not leave it behind.
  remedy=$(quoted "$0" delete "--name=$name" "${here[@]}")
  if [[ ${OPTION[delete_on_exit]} == true && $created == true ]]; then
    delete || say "error: $name COULD NOT BE DELETED; if it is there, it" \
      "costs money until this works: $remedy"
  elif [[ $ACTION == run || $ACTION == logs ]] && ! dry; then
    say "$name is left as it is, and billed while it runs; to end it: $remedy"
  fi
  exit "$status"
}
trap 'leave' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

case $ACTION in
  run) create; follow ;;
  render) manifest ;;
  logs) follow ;;
  delete) delete ;;
esac
