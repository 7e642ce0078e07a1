_base_ = './clip.py'
# L = L_GC + 0.25 L_LRC + 1.25 L_GR; a reconstruction, see docs/method.md, with
# the measurements that these settings follow from. The losses are of the
# kind that the CLIP was trained with; `type='ContrastiveLoss'` (InfoNCE) or
# `'SigmoidContrastiveLoss'` (SigLIP) in a `loss` chooses another.
model = dict(
    heads=dict(
        lrc=dict(
            type='RegionPhraseHead',
            loss=dict(loss_weight=0.25),
            temperature='own',
        ),
        gr=dict(
            type='RegionAlignmentHead',
            mode='text',
            loss=dict(loss_weight=1.25),
            temperature='own',
        ),
    )
)
