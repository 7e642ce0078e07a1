_base_ = './clip.py'
# FineCLIP (NeurIPS 2024): L = L_global + L_region + L_distill, unweighted.
# `gr` is the sum of the last two: regions against the texts of their regions
# over the global batch, and 1 - cos(region, crop) with the crop encoded by the
# model itself, to which the gradient goes too; crops have 1.5 x context. The
# text tower is frozen.
# Against its code: gradients are averaged over the GPUs and the loss is that
# of the global batch (there neither); no padded region is in the softmax;
# equal phrases are positives of each other; regions and their texts are the
# linked phrases of captions in place of generated captions of proposals.
model = dict(
    heads=dict(
        gr=dict(type='RegionAlignmentHead', mode='both', crop_encoder='online')
    ),
    crop_extractor=dict(type='CropFeatureExtractor', context=1.5),
    frozen=['text_encoder'],
)
