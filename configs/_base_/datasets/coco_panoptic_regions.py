# Every segment of panoptic_val2017 with its mask. A config appends to
# `load_regions` what brings the images to the size of its protocol.
data_root = '{{$COCO_ROOT:data/coco/}}'

load_regions = [
    dict(type='LoadCheckedImage'),
    dict(type='LoadPanopticRegions', with_mask=True),
    # CLIPSelf and FineCLIP look at the first 100 segments of an image, score
    # those of 8^2 to 1024^2 px^2, and know no crowds.
    dict(
        type='FilterRegions',
        min_area=64,
        max_area=1024**2,
        max_regions=100,
        keep_crowd=True,
    ),
]
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.CocoPanopticDataset',
        return_classes=True,
        data_root=data_root,
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
        test_mode=True,
    ),
)
test_evaluator = [dict(type='BoxClassificationMetric')]
