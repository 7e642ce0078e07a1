_base_ = '../../../../configs/_base_/schedules/adamw_10e.py'
# From scratch in minutes: 12000 images / 64 = 187 iterations an epoch;
# 3 epochs = 561 iterations, 50 of them warm-up.
max_epochs = 3
train_cfg = dict(
    type='ResumableEpochTrainLoop',  # for runtime_exact.py
    max_epochs=max_epochs,
    val_interval=max_epochs,
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, betas=(0.9, 0.98)),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
needs_weights = False
auto_scale_lr = dict(base_batch_size=64)
