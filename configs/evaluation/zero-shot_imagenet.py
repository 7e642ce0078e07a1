# Zero-shot classification of ImageNet-1k's 50 000 validation images (CLIP,
# arXiv 2103.00020, section 3.1): open_clip's 1000 class names in 80 templates,
# images as the CLIP was trained with (OpenAI: shorter side bicubic, centre
# crop). Two names stand there twice (missile, sunglasses): see
# docs/evaluation.md.
# Another CLIP: --cfg-options clip=NAME.
_base_ = '../_base_/evaluation/clip_images.py'
model = dict(
    predictors=dict(
        images=dict(
            type='ImageClassPredictor',
            classifier=dict(templates='openai80', prompts='imagenet1000'),
        )
    )
)

test_dataloader = dict(
    **_base_.loader,
    batch_size=64,
    dataset=dict(
        type='ZeroShotImageNet',
        # val/<1000 folders>/, or val/ and meta/val.txt
        data_root='{{$IMAGENET_ROOT:data/imagenet/}}',
        split='val',
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            _base_.native,
            dict(type='mmpretrain.PackInputs', meta_keys=('img_path', 'text')),
        ],
    ),
)
test_evaluator = [dict(type='mmpretrain.Accuracy', topk=(1, 5), thrs=None)]
benchmark = dict(
    task='classes of images, ImageNet-1k',
    kind='global',
    figures={'Top-1': 'accuracy/top1', 'Top-5': 'accuracy/top5'},
    data='IMAGENET_ROOT: val/ with 1000 folders, or val/ and '
    'meta/val.txt, https://image-net.org',
)
