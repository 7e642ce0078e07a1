# Zero-shot classification of ImageNet-1k's 50 000 validation images (CLIP,
# arXiv 2103.00020, section 3.1): open_clip's 1000 class names in 80 templates,
# images as in CLIP: shorter side bicubic, centre crop. Two names stand there
# twice (missile, sunglasses): see docs/evaluation.md.
# CLIP_MODEL names the towers, a file of configs/_base_/models/.
_base_ = [
    '../_base_/models/{{$CLIP_MODEL:clip_vitb16}}.py',
    '../_base_/default_runtime.py',
]
model = dict(classifier=dict(vocabulary='imagenet1000', templates='openai80'))

test_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmpretrain.ImageNet',
        # val/<1000 folders>/, or val/ and meta/val.txt
        data_root='{{$IMAGENET_ROOT:data/imagenet/}}',
        split='val',
        test_mode=True,
        pipeline=[
            dict(
                type='LoadImageFromFile',
                imdecode_backend='pillow',
                color_type='color_ignore_orientation',
            ),
            dict(
                type='mmpretrain.ResizeEdge',
                scale=_base_.model.backbone.img_size,
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(
                type='mmpretrain.CenterCrop',
                crop_size=_base_.model.backbone.img_size,
            ),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
test_evaluator = [dict(type='mmpretrain.Accuracy', topk=(1, 5), thrs=None)]
test_cfg = dict(type='TestLoop')
