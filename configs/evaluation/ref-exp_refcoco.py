# Referring expressions of RefCOCO, RefCOCO+ and RefCOCOg (MDETR's files): the
# boxes of the image are ranked by the cosine of region and expression; right
# if the best (5, 10 best) overlaps the true box by IoU >= 0.5. The boxes are
# COCO's annotations, or proposals, if REFEXP_BOXES names a file of COCO
# results. A protocol of our own: detectors find the boxes themselves, and
# CLIP is mostly tested on crops, so figures of other papers do not compare.
# Another CLIP: --cfg-options clip=NAME.
_base_ = '../_base_/evaluation/clip_images.py'
data_root = '{{$COCO_ROOT:data/coco/}}'  # train2014/
# validation of all three; finetune_refcoco_testA.json ... are the others
ann_file = '{{$REFEXP_FILE:mdetr_annotations/final_refexp_val.json}}'
boxes_file = '{{$REFEXP_BOXES:annotations/instances_train2014.json}}'
# absolute, or below data_root (an import would make this a lazy config, which
# mmengine 0.10 does not mix with text-style bases)
ann_path = ann_file if ann_file[0] == '/' else data_root + '/' + ann_file
if boxes_file[0] != '/':
    boxes_file = data_root + '/' + boxes_file
model = dict(predictors=dict(boxes=dict(type='ReferringPredictor')))

test_dataloader = dict(
    **_base_.loader,
    batch_size=32,
    dataset=dict(
        type='mmdet.MDETRStyleRefCocoDataset',
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='train2014/'),
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            _base_.squash,
            dict(
                type='LoadCandidateBoxes',
                ann_file=boxes_file,
            ),
            dict(type='TokenizeCandidates', clip=_base_.clip),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
test_evaluator = [
    dict(
        type='mmdet.RefExpMetric',
        ann_file=ann_path,
        iou_thrs=0.5,
        topk=(1, 5, 10),
    )
]
benchmark = dict(
    task='box of an expression, RefCOCO',
    kind='local',
    figures={
        'RefCOCO P@1': 'refexp/refcoco_precision@1',
        'RefCOCO+ P@1': 'refexp/refcoco+_precision@1',
        'RefCOCOg P@1': 'refexp/refcocog_precision@1',
    },
    data='COCO_ROOT: train2014/ and annotations/instances_train2014.json '
    'of COCO 2014, and mdetr_annotations/ of '
    'https://zenodo.org/record/4729015 (or REFEXP_FILE)',
)
