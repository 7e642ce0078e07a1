#!/usr/bin/env bash
# Evaluate on one or several machines with torchrun; without a GPU the
# processes run on the CPU.
set -e
. "$(dirname "$0")/launchers.sh"
[ $# -ge 3 ] || usage "CONFIG CHECKPOINT GPUS [arguments of test.py]" \
    "CHECKPOINT is a file or none. $DIST_HELP"
run_dist "$3" test.py "$1" "$2" "${@:4}"
