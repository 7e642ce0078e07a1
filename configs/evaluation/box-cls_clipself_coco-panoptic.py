# Protocol `clipself` (CLIPSelf, arXiv 2310.01403): boxes of panoptic_val2017,
# 133 classes scored, longest side 1024 px (896 for patches of 14), accuracy as
# mean over classes, thing and stuff apart: box_cls/thing_macro_top1, ...
#   python tools/test.py THIS_FILE CHECKPOINT                     # RoIAlign
#     --cfg-options model.region_extractor.type=MaskFeatureExtractor
#     --cfg-options model.region_extractor.type=CropFeatureExtractor
#         model.region_extractor.keep_ratio=True
#         model.region_extractor.context=1.5   # things; stuff: 1.0
# Another CLIP: --cfg-options clip=NAME.
# Unlike the published code, means of classes are not rounded to fp16, the
# tight box of a segment includes its last pixel row and column, a cell counts
# in mask pooling with the share that is covered, crops are cut from the
# resized image, and a crowd has the box of its segment.
_base_ = [
    '../_base_/evaluation/clip_images.py',
    '../_base_/datasets/coco_panoptic_regions.py',
]
model = dict(predictors=_base_.vild63)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.load_regions,
            _base_.longest_side_and_pad,
            dict(type='PackRegionTextInputs'),
        ]
    )
)
benchmark = dict(
    task='boxes, protocol clipself, COCO panoptic',
    kind='local',
    figures={
        'thing mAcc': 'box_cls/thing_macro_top1',
        'thing mAcc5': 'box_cls/thing_macro_top5',
        'stuff mAcc': 'box_cls/stuff_macro_top1',
        'stuff mAcc5': 'box_cls/stuff_macro_top5',
    },
    data='COCO_ROOT: val2017/, annotations/panoptic_val2017.json and '
    'annotations/panoptic_val2017/ of COCO 2017, '
    'https://cocodataset.org',
)
