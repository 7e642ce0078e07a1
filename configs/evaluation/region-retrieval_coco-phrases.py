# Retrieval of regions by phrase: each phrase of val2017's captions that has
# boxes ranks all boxes with phrases, of all images, by the cosine;
# region_retrieval/mAP over the phrases and region_retrieval/r1. Phrases are
# linked to boxes by tools/dataset_converters/to_odvg.py; equal ones are
# one. A box counts for its own phrase alone, though "a man" may be called
# "a person" elsewhere: figures are lower than they should be, for all CLIPs.
# A protocol of our own.
# Another CLIP: --cfg-options clip=NAME.
_base_ = '../_base_/evaluation/clip_images.py'
model = dict(
    region_extractor=dict(normalise_map=False),
    predictors=dict(phrases=dict(type='RegionRetrievalPredictor')),
)

test_dataloader = dict(
    **_base_.loader,
    batch_size=32,
    dataset=dict(
        type='RegionPhraseDataset',
        data_root='{{$COCO_ROOT:data/coco/}}',
        ann_file='annotations/phrases_val2017.jsonl',
        caption_choice='all',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            _base_.squash,
            dict(type='TokenizeRegionText', clip=_base_.clip),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
test_evaluator = [dict(type='RegionRetrievalMetric')]
benchmark = dict(
    task='regions by phrase, COCO captions',
    kind='local',
    figures={'mAP': 'region_retrieval/mAP', 'R@1': 'region_retrieval/r1'},
    data='COCO_ROOT: val2017/ of COCO 2017, and '
    'annotations/phrases_val2017.jsonl, which '
    '`tools/dataset_converters/to_odvg.py coco-captions` writes',
)
