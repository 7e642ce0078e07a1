#!/usr/bin/env bash
# Train on one or several machines with torchrun; without a GPU the processes
# run on the CPU.
set -e
. "$(dirname "$0")/launchers.sh"
[ $# -ge 2 ] || usage "CONFIG GPUS [arguments of train.py]" "$DIST_HELP"
run_dist "$2" train.py "$1" "${@:3}"
