_base_ = './adamw_10e.py'
# The learning rate of block k of a tower of n blocks is
# lr x layer_decay_rate ^ (n + 1 - k), k = 1 ... n; that of the embeddings
# k = 0, that of the final norm, the projection, the heads and temperatures lr.
# 0.75 is the value of mmpretrain's example; tune it.
optim_wrapper = dict(
    constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75),
)
