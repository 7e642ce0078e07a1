# Referring expressions of RefCOCO, RefCOCO+ and RefCOCOg (MDETR's files): the
# boxes of the image are ranked by the cosine of region and expression; right
# if the best (5, 10 best) overlaps the true box by IoU >= 0.5. The boxes are
# COCO's annotations, or proposals, if REFEXP_BOXES names a file of COCO
# results. A protocol of our own: detectors find the boxes themselves, and
# CLIP is mostly tested on crops, so figures of other papers do not compare.
# CLIP_MODEL names the towers, a file of configs/_base_/models/.
import os.path as osp

_base_ = [
    '../_base_/models/{{$CLIP_MODEL:clip_vitb16}}.py',
    '../_base_/default_runtime.py',
]
data_root = '{{$COCO_ROOT:data/coco/}}'  # train2014/
# validation of all three; finetune_refcoco_testA.json ... are the others
ann_file = '{{$REFEXP_FILE:mdetr_annotations/final_refexp_val.json}}'
boxes_file = '{{$REFEXP_BOXES:annotations/instances_train2014.json}}'
model = dict(classifier=None)

test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.MDETRStyleRefCocoDataset',
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='train2014/'),
        test_mode=True,
        pipeline=[
            dict(
                type='LoadImageFromFile',
                imdecode_backend='pillow',
                color_type='color_ignore_orientation',
            ),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(
                type='mmdet.Resize',
                scale=(_base_.model.backbone.img_size,) * 2,
                keep_ratio=False,
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(
                type='LoadCandidateBoxes',
                ann_file=osp.join(data_root, boxes_file),
            ),
            dict(type='TokenizeCandidates'),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
test_evaluator = [
    dict(
        type='mmdet.RefExpMetric',
        ann_file=osp.join(data_root, ann_file),
        iou_thrs=0.5,
        topk=(1, 5, 10),
    )
]
test_cfg = dict(type='TestLoop')
