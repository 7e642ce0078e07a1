# What dist_train.sh, dist_test.sh, slurm_train.sh and slurm_test.sh share.
# Sourced by them, not to be run.

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$(dirname "$TOOLS")${PYTHONPATH:+:$PYTHONPATH}"

# usage LINE...: say how the calling script is started, and end
usage() {
    echo "Usage: bash $0 $1" >&2
    printf '%s\n' "${@:2}" >&2
    exit 2
}

DIST_HELP="GPUS is the number of processes on this machine. On several machines
start the same command on each. Environment: NNODES (number of machines, 1),
NODE_RANK (of this one, from 0), MASTER_ADDR (address of the one of rank 0),
PORT (29500), PYTHON."

SLURM_HELP="Environment: GPUS (in all; NNODES x GPUS_PER_NODE),
GPUS_PER_NODE (8), NNODES (as many as GPUS needs), MASTER_ADDR (the first
machine), MASTER_PORT (29500), CPUS_PER_TASK (5), SRUN_ARGS, PYTHON. Slurm
itself numbers the machines."

# run_dist GPUS SCRIPT ARGUMENT...: GPUS processes of a tool by torchrun
run_dist() {
    if [ "${NNODES:-1}" != 1 ] && [ -z "$MASTER_ADDR" -o -z "$NODE_RANK" ]
    then  # else every machine would wait for others that never come
        echo "Error: NNODES=$NNODES machines need NODE_RANK (0 to" \
            "$((NNODES - 1))) and MASTER_ADDR on each" >&2
        exit 2
    fi
    # what torchrun would set with a warning
    [ "$1" = 1 ] || export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    exec "${PYTHON:-python}" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="${PORT:-29500}" \
        --nproc_per_node="$1" \
        "$TOOLS/$2" "${@:3}" --launcher pytorch
}

# run_slurm PARTITION JOB_NAME SCRIPT ARGUMENT...: one task of a tool a GPU
run_slurm() {
    local per_node=${GPUS_PER_NODE:-8} extra
    # several words in one variable, as srun takes them
    read -r -a extra <<< "${SRUN_ARGS:-}"
    set -x
    exec srun -p "$1" \
        --job-name="$2" \
        --gres="gpu:$per_node" \
        ${NNODES:+--nodes="$NNODES"} \
        --ntasks="${GPUS:-$((${NNODES:-1} * per_node))}" \
        --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 \
        "${extra[@]}" \
        "${PYTHON:-python}" -u "$TOOLS/$3" "${@:4}" --launcher slurm
}
