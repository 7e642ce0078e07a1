# Zero-shot classification of ImageNet-1k's 50 000 validation images (CLIP,
# arXiv 2103.00020, section 3.1): open_clip's 1000 class names in 80 templates,
# images as in CLIP: shorter side bicubic, centre crop. Two names stand there
# twice (missile, sunglasses): see docs/evaluation.md.
# CLIP_MODEL names the towers, a file of configs/_base_/models/.
_base_ = '../_base_/evaluation/clip_images.py'
model = dict(classifier=dict(vocabulary='imagenet1000', templates='openai80'))

test_dataloader = dict(
    **_base_.loader,
    batch_size=64,
    dataset=dict(
        type='mmpretrain.ImageNet',
        # val/<1000 folders>/, or val/ and meta/val.txt
        data_root='{{$IMAGENET_ROOT:data/imagenet/}}',
        split='val',
        test_mode=True,
        pipeline=[
            _base_.load_image,
            *_base_.shorter_side_and_centre_crop,
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
test_evaluator = [dict(type='mmpretrain.Accuracy', topk=(1, 5), thrs=None)]
test_cfg = dict(type='TestLoop')
