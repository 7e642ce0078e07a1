_base_ = '../models/clip.py'
# CLIPSelf (ICLR 2024, arXiv 2310.01403): L = 1 - cos(region, crop), the crop
# encoded by the vision tower as it was before training. Regions are the cells
# of a random grid, so there is no text in it; only transformer blocks train.
# Afterwards blend start and result, tools/model_converters/
# blend_checkpoints.py, with alpha 0.7 for B/16 and 0.95 for L/14.
# Against its code: gradients are averaged over the GPUs (there they are not);
# the mean is over the regions of all GPUs; crops are cut from the network
# input instead of the original image.
model = dict(
    heads=dict(
        gr=dict(
            type='RegionAlignmentHead', mode='crop', crop_encoder='teacher'
        )
    ),
    crop_extractor=dict(type='CropFeatureExtractor', keep_ratio=True),
    frozen=['text_encoder', 'logit_scale', r'backbone\.(?!.*blocks\.)'],
)
grid_regions = dict(type='SampleGridRegions', max_splits=6, max_regions=20)
# The dense map does not use the queries and keys of the last block, which are
# parameters of their own in EVA-02's towers; DDP has to be told.
find_unused_parameters = True
