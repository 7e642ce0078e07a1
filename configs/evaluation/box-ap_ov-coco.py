# AP of the given boxes of OV-COCO with their first class, base and novel
# apart: ov_coco/base_ap50, ov_coco/novel_ap50. How well the regions are named
# when their boxes are known; a detector is judged otherwise.
# Another CLIP: --cfg-options clip=NAME.
_base_ = [
    '../_base_/evaluation/clip_images.py',
    '../_base_/datasets/coco_ov.py',
]
model = dict(predictors=_base_.vild63)
test_dataloader = dict(
    batch_size=8,
    dataset=dict(
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            _base_.longest_side_and_pad,
            dict(type='PackRegionTextInputs'),
        ]
    ),
)
benchmark = dict(
    task='AP50 of given boxes, OV-COCO',
    kind='local',
    figures={
        'novel AP50': 'ov_coco/novel_ap50',
        'base AP50': 'ov_coco/base_ap50',
    },
    data='COCO_ROOT: val2017/ and annotations/instances_val2017.json of '
    'COCO 2017, https://cocodataset.org',
)
