# Image-text retrieval on COCO's 5k test images of Karpathy and Fei-Fei
# (arXiv 1412.2306): 5000 images of val2014, the first 5 captions of each.
# Images as in CLIP: shorter side bicubic, centre crop; captions as they are,
# without a prompt. Against published code: a tie is a miss.
# CLIP_MODEL names the towers, a file of configs/_base_/models/.
_base_ = [
    '../_base_/models/{{$CLIP_MODEL:clip_vitb16}}.py',
    '../_base_/default_runtime.py',
]
model = dict(classifier=None)

test_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageTextRetrievalDataset',
        # val2014/ and Karpathy's dataset_coco.json, which names that folder
        data_root='{{$COCO_ROOT:data/coco/}}',
        ann_file='{{$COCO_KARPATHY:dataset_coco.json}}',
        data_prefix=dict(img=''),
        split='test',
        max_captions=5,
        test_mode=True,
        pipeline=[
            dict(
                type='LoadImageFromFile',
                imdecode_backend='pillow',
                color_type='color_ignore_orientation',
            ),
            dict(
                type='mmpretrain.ResizeEdge',
                scale=_base_.model.backbone.img_size,
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(
                type='mmpretrain.CenterCrop',
                crop_size=_base_.model.backbone.img_size,
            ),
            dict(type='TokenizeRegionText'),
            dict(type='PackRegionTextInputs'),
        ],
    ),
)
test_evaluator = [dict(type='ImageTextRetrievalMetric')]
test_cfg = dict(type='TestLoop')
