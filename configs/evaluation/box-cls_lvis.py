# Protocol `fgclip` on LVIS v1: every annotation of lvis_v1_val, 1203 classes
# scored, images squashed to the size of the CLIP, accuracy as mean over boxes:
# box_cls/top1, also box_cls/rare_top1, common_top1 and frequent_top1.
# Needs `pip install lvis`. LVIS_ROOT/annotations/lvis_v1_val.json; the images
# are COCO's, in COCO_ROOT/train2017 and COCO_ROOT/val2017.
# Another CLIP: --cfg-options clip=NAME.
# FG-CLIP's code for LVIS skips images that are not in the image folder it is
# given (by default val2017); here a missing image is an error.
# lvis/bbox_AP is the AP of the same boxes with their first class.
_base_ = [
    '../_base_/evaluation/clip_images.py',
    '../_base_/datasets/lvis_regions.py',
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
    task='boxes, protocol fgclip, LVIS, and AP of given boxes',
    kind='local',
    figures={
        'Top-1': 'box_cls/top1',
        'rare Top-1': 'box_cls/rare_top1',
        'AP': 'lvis/bbox_AP',
        'rare AP': 'lvis/bbox_APr',
    },
    subfolders=['*2017'],
    data='LVIS_ROOT: annotations/lvis_v1_val.json, '
    'https://www.lvisdataset.org; COCO_ROOT: train2017/ and '
    'val2017/ of COCO 2017; pip install lvis',
)
