_base_ = './clip.py'
# GC and LRC by SigLIP's pairwise sigmoid loss (arXiv 2303.15343), whatever the
# CLIP was trained with, without GR; docs/add_a_method.md tells how it was
# added. On a CLIP without a bias each loss gets one, -10 at the start.
# SigLIP's temperature starts at 10, here at the CLIP's; equal lexemes are
# positives of each other.
model = dict(
    heads=dict(
        gc=dict(loss=dict(type='SigmoidContrastiveLoss')),
        lrc=dict(
            type='RegionPhraseHead', loss=dict(type='SigmoidContrastiveLoss')
        ),
    )
)
