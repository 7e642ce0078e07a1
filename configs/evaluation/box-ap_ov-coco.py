# AP of the given boxes of OV-COCO with their first class, base and novel
# apart: ov_coco/base_ap50, ov_coco/novel_ap50. How well the regions are named
# when their boxes are known; a detector is judged otherwise.
# Another architecture: CLIP_MODEL=NAME of a file in configs/_base_/models/.
_base_ = [
    '../_base_/models/{{$CLIP_MODEL:clip_vitb16}}.py',
    '../_base_/datasets/coco_ov.py',
    '../_base_/default_runtime.py',
]
image_size = 64 * _base_.model.backbone.patch_size  # 64 x 64 cells

model = dict(
    classifier=dict(vocabulary=_base_.classes, templates='vild63'),
)
resize = [
    dict(
        type='mmdet.Resize',
        scale=(image_size, image_size),
        keep_ratio=True,
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='mmdet.Pad', size=(image_size, image_size)),
]
test_dataloader = dict(
    batch_size=8,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            *resize,
            dict(type='PackRegionTextInputs'),
        ]
    ),
)
