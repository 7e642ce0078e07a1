_base_ = './clip.py'
# The region stage of FG-CLIP (arXiv 2505.05071): L = L_global + 0.1 L_region +
# 0.5 L_hard, with the weights of its code (branch v1.0), where L_hard has a
# temperature of its own. Negatives come with the data (FineHARD, by
# to_odvg.py) or from a transform, ExchangeWords; the pipeline needs
# TokenizeRegionText with 10 `negatives`.
# Against its code: gradients reach the texts of all ranks; equal phrases are
# positives of each other; regions without negatives stay out of the hard term.
model = dict(
    heads=dict(
        gr=dict(
            type='RegionAlignmentHead',
            mode='text',
            loss=dict(loss_weight=0.1),
        ),
        hard=dict(type='HardNegativeHead', loss=dict(loss_weight=0.5)),
    )
)
