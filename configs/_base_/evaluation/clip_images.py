# What evaluations of a CLIP share: the towers, chosen by CLIP_MODEL among
# configs/_base_/models/, and images at the size that fits them, prepared as
# Pillow does, which CLIP was trained with. A config puts these pieces into
# its pipeline.
_base_ = [
    '../models/{{$CLIP_MODEL:clip_vitb16}}.py',
    '../default_runtime.py',
]
image_size = _base_.model.backbone.img_size
map_image_size = 64 * _base_.model.backbone.patch_size  # 64 x 64 cells

loader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
load_image = dict(
    type='LoadImageFromFile',
    imdecode_backend='pillow',
    color_type='color_ignore_orientation',
)
shorter_side_and_centre_crop = [
    dict(
        type='mmpretrain.ResizeEdge',
        scale=image_size,
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='mmpretrain.CenterCrop', crop_size=image_size),
]
squash = dict(
    type='mmdet.Resize',
    scale=(image_size, image_size),
    keep_ratio=False,
    backend='pillow',
    interpolation='bicubic',
)
longest_side_and_pad = [
    dict(
        type='mmdet.Resize',
        scale=(map_image_size, map_image_size),
        keep_ratio=True,
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='mmdet.Pad', size=(map_image_size, map_image_size)),
]
