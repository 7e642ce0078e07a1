# FG-OVD (arXiv 2311.17518) with given boxes, as FG-CLIP (arXiv 2505.05071)
# evaluates it: one right expression against 10 hard negatives, Top-1 of each
# set; images squashed; the values of the last block, pooled by
# RoIAlign without normalising them before. Against FG-CLIP's code: a tie is a
# miss (there a hit), and nothing is rounded to bfloat16.
# Another CLIP: --cfg-options clip=NAME.
_base_ = '../_base_/evaluation/clip_images.py'
model = dict(
    region_extractor=dict(normalise_map=False),
    predictors=dict(texts=dict(type='CandidateTextPredictor')),
)

test_dataloader = dict(
    **_base_.loader,
    batch_size=16,
    dataset=dict(
        type='FGOVDDataset',
        data_root='{{$COCO_ROOT:data/coco/}}',  # train2017/ and val2017/
        # The folder benchmarks/ of FG-OVD, or one jsonl file
        ann_file='{{$FGOVD_FILES:fgovd}}',
        data_prefix=dict(img=''),
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            _base_.squash,
            dict(type='TokenizeCandidates', clip=_base_.clip),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
test_evaluator = [dict(type='FGOVDMetric')]
benchmark = dict(
    task='right text of a box, FG-OVD',
    kind='local',
    quick=True,
    figures={
        'hard': 'fgovd/hard_top1',
        'medium': 'fgovd/medium_top1',
        'easy': 'fgovd/easy_top1',
        'trivial': 'fgovd/trivial_top1',
    },
    files=[
        *('1_attributes*.json*', '2_attributes*.json*'),
        *('3_attributes*.json*', 'shuffle_negatives*.json*'),
    ],
    subfolders=['*2017'],
    data='COCO_ROOT: train2017/ and val2017/ of COCO 2017, and fgovd/, '
    'which is benchmarks/ of '
    'https://github.com/lorebianchi98/FG-OVD (or FGOVD_FILES)',
)
