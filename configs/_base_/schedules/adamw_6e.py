_base_ = './adamw_10e.py'
# CLIPSelf's schedule: AdamW 1e-5, 1000 steps of warm-up, cosine, 6 epochs.
# 8 GPUs x 2 images = 16; 118287 images / 16 = 7392 iterations an epoch.
max_epochs = 6
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=max_epochs, end=max_epochs),
]
auto_scale_lr = dict(base_batch_size=16)
