_base_ = './clip.py'
# A reconstruction of SFF-CLIP's answer to noisy links: regions against their
# texts, each weighed by how well the untrained CLIP finds that the text fits
# the region's crop. Its paper reports that without the weight boxes fall below
# the untuned CLIP; its formula is not public to us.
model = dict(
    heads=dict(
        gr=dict(type='RegionAlignmentHead', mode='text', weigh_fit=True)
    ),
    crop_extractor=dict(type='CropFeatureExtractor'),
)
