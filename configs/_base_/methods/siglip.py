_base_ = './clip.py'
# GC and LRC by SigLIP's pairwise sigmoid loss (arXiv 2303.15343), without GR;
# docs/add_a_method.md tells how it was added. SigLIP's temperature starts at
# 10, here at CLIP's 1 / 0.07; equal phrases are positives of each other.
heads = dict(
    gc=dict(loss=dict(type='GlobalSigmoidLoss')),
    lrc=dict(type='RegionPhraseHead', loss=dict(type='RegionSigmoidLoss')),
)
