_base_ = './clip.py'
# CLIM (AAAI 2024, arXiv 2312.11376): images of a mosaic are regions, their
# captions the regions' texts. A reconstruction: a mosaic may have one cell,
# which is the whole image of the global contrast.
# What an mmdet.MultiImageMixDataset makes of captioned images:
mosaic_pipeline = [
    dict(type='CaptionMosaic', clip=None),
    dict(type='TokenizeRegionText', clip=None),
    dict(type='PackRegionTextInputs'),
]
model = dict(heads=dict(gr=dict(type='RegionAlignmentHead', mode='text')))
