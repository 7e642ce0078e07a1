#!/usr/bin/env bash
# Train on one or several machines with torchrun; without a GPU the processes
# run on the CPU. On several machines start it on each, with NNODES,
# NODE_RANK, MASTER_ADDR and PORT set.
set -e

if [ $# -lt 2 ]; then
    echo "Usage: bash $0 CONFIG GPUS [arguments of train.py]" >&2
    echo "GPUS is the number of processes on this machine. Environment:" >&2
    echo "NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON." >&2
    exit 2
fi

CONFIG=$1
GPUS=$2
TOOLS=$(cd "$(dirname "$0")" && pwd)

PYTHONPATH="$(dirname "$TOOLS")${PYTHONPATH:+:$PYTHONPATH}" \
"${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
