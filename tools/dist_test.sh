#!/usr/bin/env bash
# Evaluate on one or several machines with torchrun; without a GPU the
# processes run on the CPU. On several machines start it on each, with NNODES,
# NODE_RANK, MASTER_ADDR and PORT set.
set -e

if [ $# -lt 3 ]; then
    echo "Usage: bash $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    echo "GPUS is the number of processes on this machine, CHECKPOINT a" >&2
    echo "file or none. Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT," >&2
    echo "PYTHON." >&2
    exit 2
fi

CONFIG=$1
CHECKPOINT=$2
GPUS=$3
TOOLS=$(cd "$(dirname "$0")" && pwd)

PYTHONPATH="$(dirname "$TOOLS")${PYTHONPATH:+:$PYTHONPATH}" \
"${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
