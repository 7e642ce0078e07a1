_base_ = './harmoclip.py'
# L = L_GC + L_LRC + L_GR. From random weights there is no retrieval that the
# region losses could damage, and less weight learns boxes more slowly.
model = dict(
    heads=dict(
        lrc=dict(positives='phrase', loss=dict(loss_weight=1.0)),
        gr=dict(loss=dict(loss_weight=1.0)),
    )
)
