_base_ = './clip.py'
# CLIM (AAAI 2024, arXiv 2312.11376): images of a mosaic are regions, their
# captions the regions' texts. A reconstruction: a mosaic may have one cell,
# which is the whole image of the global contrast.
model = dict(heads=dict(gr=dict(type='RegionAlignmentHead', mode='text')))
