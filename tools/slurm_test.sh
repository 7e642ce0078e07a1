#!/usr/bin/env bash
# Evaluate on a Slurm cluster, one task a GPU.
set -e
. "$(dirname "$0")/launchers.sh"
[ $# -ge 4 ] || usage \
    "PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" "$SLURM_HELP"
run_slurm "$1" "$2" test.py "$3" "$4" "${@:5}"
