# Protocol `fgclip` with crops of the boxes, each squashed to the size of the
# CLIP and encoded (`crop_resize` there), in place of the dense map. Crops are
# cut from the image at 64 patches for its longest side (1024 px), there from
# the original; all else as in box-cls_fgclip_coco.py.
_base_ = './box-cls_fgclip_coco.py'
model = dict(region_extractor=dict(_delete_=True, type='CropFeatureExtractor'))
test_dataloader = dict(
    batch_size=8,
    dataset=dict(
        pipeline=[
            *_base_.load_regions,
            _base_.longest_side_and_pad,
            dict(type='PackRegionTextInputs'),
        ]
    ),
)
benchmark = dict(task='crops, protocol fgclip, COCO', quick=False)
