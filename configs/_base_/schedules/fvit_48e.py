_base_ = './fvit_3e.py'
# F-ViT's schedule of OV-LVIS (CLIPSelf, its configs): 48 epochs, the learning
# rate divided by 10 after 32 and 44.
# 8 GPUs x 8 images = 64; 100170 images / 64 = 1566 iterations an epoch, less
# those of images without a base box.
max_epochs = 48
train_cfg = dict(max_epochs=max_epochs, val_interval=12)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_epochs,
        by_epoch=True,
        milestones=[32, 44],
        gamma=0.1,
    ),
]
