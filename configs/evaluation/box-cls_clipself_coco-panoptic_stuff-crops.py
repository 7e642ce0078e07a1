# Protocol `clipself` with crops of stuff: as
# box-cls_clipself_coco-panoptic_crops.py, without surroundings.
_base_ = './box-cls_clipself_coco-panoptic_crops.py'
model = dict(region_extractor=dict(context=1.0))
benchmark = dict(
    task='crops of stuff, protocol clipself, COCO panoptic',
    figures={
        '_delete_': True,
        'stuff mAcc': 'box_cls/stuff_macro_top1',
        'stuff mAcc5': 'box_cls/stuff_macro_top5',
    },
)
