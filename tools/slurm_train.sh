#!/usr/bin/env bash
# Train on a Slurm cluster, one task a GPU.
set -e
. "$(dirname "$0")/launchers.sh"
[ $# -ge 4 ] || usage \
    "PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]" "$SLURM_HELP"
run_slurm "$1" "$2" train.py "$3" --work-dir="$4" "${@:5}"
