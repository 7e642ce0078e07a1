_base_ = './clip.py'
# L = L_GC + 0.5 L_LRC + L_GR; a reconstruction, see docs/method.md, which
# has the measurements that these settings follow from. The losses are of the
# kind that the CLIP was trained with; `type='ContrastiveLoss'` (InfoNCE) or
# `'SigmoidContrastiveLoss'` (SigLIP) in a `loss` chooses another. Where
# phrases need their caption to be told apart ("in red a circle and in blue a
# circle"), LRC wants `positives='pair'`: equal phrases are positives of each
# other else.
model = dict(
    heads=dict(
        lrc=dict(
            type='RegionPhraseHead',
            loss=dict(loss_weight=0.5),
            temperature='own',
        ),
        gr=dict(
            type='RegionAlignmentHead',
            mode='text',
            loss=dict(loss_weight=1.0),
            temperature='own',
        ),
    )
)
