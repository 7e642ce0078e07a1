_base_ = './clip.py'
# RegionCLIP (CVPR 2022, arXiv 2112.09106): L = L_cntrst + L_dist +
# L_cntrst-img, unweighted: regions against texts (`gr`), the divergence from
# a frozen teacher's distribution over concepts (`kd`), images against captions
# (`gc`). The text tower is frozen.
# Against its code: regions and texts are the linked phrases of captions, not
# proposals with the teacher's best concept as pseudo label; the concepts are
# the phrases of the global batch, not a pool of its own; the contrast goes
# both ways; the temperature is CLIP's (there 0.01); the teacher sees crops,
# because the attention pooling of its ResNet, which sees a box alone, is in a
# ViT the CLS token of a crop.
model = dict(
    heads=dict(
        gr=dict(type='RegionAlignmentHead', mode='text'),
        kd=dict(type='ConceptDistillationHead'),
    ),
    crop_extractor=dict(type='CropFeatureExtractor'),
    frozen=['text_encoder'],
)
