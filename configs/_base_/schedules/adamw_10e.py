# FineCLIP's schedule: AdamW 1e-5, 1000 steps of warm-up, cosine, 10 epochs.
# 8 GPUs x 32 images = 256; 118287 images / 256 = 462 iterations an epoch.
max_epochs = 10
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=1e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1
    ),
    # As CLIP: no decay of norms, biases and the temperature. Not all biases
    # are named `bias`, but all are vectors.
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(
            log_scale=dict(decay_mult=0.0),
            cls_token=dict(decay_mult=0.0),
        ),
    ),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
# So low a rate fine-tunes; tools/train.py warns where no weights are given.
needs_weights = True
auto_scale_lr = dict(base_batch_size=256, enable=False)
