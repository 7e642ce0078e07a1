# Parameters, gradients and optimizer state sharded over all GPUs, in place of
# DistributedDataParallel, which every other config uses.
# See docs/scaling.md for what this saves and what it costs.
runner_type = 'FlexibleRunner'
strategy = dict(type='harmoclip_mm.CLIPFSDPStrategy')
