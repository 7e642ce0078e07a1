# Image-text retrieval on COCO's 5k test images of Karpathy and Fei-Fei
# (arXiv 1412.2306): 5000 images of val2014, the first 5 captions of each.
# Images as the CLIP was trained with (OpenAI: shorter side bicubic, centre
# crop); captions as they are, without a prompt. Against published code: a tie
# is a miss.
# Another CLIP: --cfg-options clip=NAME.
_base_ = '../_base_/evaluation/clip_images.py'
model = dict(predictors=dict(retrieval=dict(type='RetrievalPredictor')))

test_dataloader = dict(
    **_base_.loader,
    batch_size=64,
    dataset=dict(
        type='ImageTextRetrievalDataset',
        # val2014/ and Karpathy's dataset_coco.json, which names that folder,
        # or annotations/captions_val2014.json of COCO
        data_root='{{$COCO_ROOT:data/coco/}}',
        ann_file='{{$COCO_KARPATHY:dataset_coco.json}}',
        data_prefix=dict(img=''),
        split='test',
        max_captions=5,
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            _base_.native,
            dict(type='TokenizeRegionText', clip=_base_.clip),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
test_evaluator = [dict(type='ImageTextRetrievalMetric')]
benchmark = dict(
    task='retrieval, COCO 5k',
    kind='global',
    figures={'I2T R@1': 'retrieval/i2t_r1', 'T2I R@1': 'retrieval/t2i_r1'},
    score=['I2T R@1', 'T2I R@1'],  # their mean stands for it in a picture
    subfolders=['val2014'],
    data='COCO_ROOT: val2014/ of COCO 2014 and dataset_coco.json of '
    'https://cs.stanford.edu/people/karpathy/deepimagesent/ (or '
    'COCO_KARPATHY=annotations/captions_val2014.json)',
)
