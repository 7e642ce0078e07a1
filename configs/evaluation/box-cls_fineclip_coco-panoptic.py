# Protocol `fineclip` (FineCLIP, NeurIPS 2024): the boxes of `clipself`, 133
# classes scored, images squashed to the size of the CLIP (224 or 336 px),
# accuracy as mean over all classes: box_cls/macro_top1, box_cls/macro_top5.
# Another CLIP: --cfg-options clip=NAME.
# Unlike the published code, images are resized as the CLIP was trained with
# (there always bilinear), means of classes are not rounded to fp16, the tight
# box of a segment includes its last pixel row and column, and a crowd has the
# box of its segment.
_base_ = [
    '../_base_/evaluation/clip_images.py',
    '../_base_/datasets/coco_panoptic_regions.py',
]
model = dict(predictors=_base_.vild63)
test_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pipeline=[
            *_base_.load_regions,
            _base_.squash,
            dict(type='PackRegionTextInputs'),
        ]
    ),
)
benchmark = dict(
    task='boxes, protocol fineclip, COCO panoptic',
    kind='local',
    figures={'mAcc': 'box_cls/macro_top1', 'mAcc5': 'box_cls/macro_top5'},
    data='COCO_ROOT: val2017/, annotations/panoptic_val2017.json and '
    'annotations/panoptic_val2017/ of COCO 2017, '
    'https://cocodataset.org',
)
