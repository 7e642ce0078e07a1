# Protocol `clipself` with crops of the things in place of the dense map: ratio
# kept on black ground, 1.5 times the box. Those of stuff are cut by
# box-cls_clipself_coco-panoptic_stuff-crops.py; all else as in
# box-cls_clipself_coco-panoptic.py.
_base_ = './box-cls_clipself_coco-panoptic.py'
model = dict(
    region_extractor=dict(
        type='CropFeatureExtractor', keep_ratio=True, context=1.5
    )
)
benchmark = dict(
    task='crops of things, protocol clipself, COCO panoptic',
    figures={
        '_delete_': True,
        'thing mAcc': 'box_cls/thing_macro_top1',
        'thing mAcc5': 'box_cls/thing_macro_top5',
    },
)
