_base_ = './clip.py'
# L = L_GC + L_LRC + L_GR; a reconstruction, see docs/architecture.md.
heads = dict(
    lrc=dict(
        type='RegionPhraseHead',
        loss=dict(type='LexemeRegionContrastiveLoss', loss_weight=1.0),
        temperature='own',
    ),
    gr=dict(
        type='RegionAlignmentHead',
        mode='text',
        loss=dict(type='GlobalRegionAlignmentLoss', loss_weight=1.0),
        temperature='shared',
    ),
)
