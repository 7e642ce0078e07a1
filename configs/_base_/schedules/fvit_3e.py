# F-ViT's schedule of OV-COCO (CLIPSelf, its configs): AdamW 1e-4, 250 steps of
# warm-up, then constant, 3 epochs: longer, the detector forgets what is novel.
# 8 GPUs x 8 images = 64; 118287 images / 64 = 1849 iterations an epoch, less
# those of images without a base box.
max_epochs = 3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1
    ),
    clip_grad=dict(max_norm=1.0, norm_type=2),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250
    ),
]
auto_scale_lr = dict(base_batch_size=64, enable=False)
