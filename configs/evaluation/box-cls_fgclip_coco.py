# Protocol `fgclip` (FG-CLIP, arXiv 2505.05071): every annotation of
# instances_val2017, crowds too, 80 classes scored, images squashed to the size
# of the CLIP (224 or 336 px), accuracy as mean over boxes: box_cls/top1,
# box_cls/top5. The map is not normalised before RoIAlign; 80 templates.
# Another CLIP: --cfg-options clip=NAME.
# Unlike the published code, mmdet's data set leaves out boxes thinner than
# 1 px. coco/bbox_mAP is the AP of the same boxes with their first class.
_base_ = [
    '../_base_/evaluation/clip_images.py',
    '../_base_/datasets/coco_regions.py',
]
model = dict(
    region_extractor=dict(normalise_map=False), predictors=_base_.openai80
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.load_regions,
            _base_.squash,
            dict(type='PackRegionTextInputs'),
        ]
    )
)
benchmark = dict(
    task='boxes, protocol fgclip, COCO',
    kind='local',
    quick=True,
    figures={'Top-1': 'box_cls/top1', 'Top-5': 'box_cls/top5'},
    data='COCO_ROOT: val2017/ and annotations/instances_val2017.json of '
    'COCO 2017, https://cocodataset.org',
)
