_base_ = './adamw_10e.py'
# ZeRO-1: each GPU keeps the moments of its share of the weights, 8 P / G bytes
# in place of 8 P (docs/scaling.md).
optim_wrapper = dict(
    optimizer=dict(type='ZeroRedundancyOptimizer', optimizer_type='AdamW')
)
