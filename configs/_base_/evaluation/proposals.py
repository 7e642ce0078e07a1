# Regions are proposals of a file in place of given boxes: each is named by the
# CLIP, then NMS within the classes. PROPOSALS is a pickle as
# mmdet.DumpProposals writes it; see docs/evaluation.md. Only read pickles that
# you trust.
_base_ = './clip_images.py'
proposal_file = '{{$PROPOSALS:proposals_val2017.pkl}}'

model = dict(
    predictors=dict(
        proposals=dict(
            type='ProposalClassPredictor',
            classifier=dict(templates='vild63'),
            objectness=True,
            max_per_img=100,
        )
    )
)
proposals_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='mmdet.LoadProposals', num_max_proposals=300),
    dict(
        type='mmdet.ProposalBroadcaster',
        transforms=[_base_.longest_side_and_pad],
    ),
    # in pixels of the original image, as mmdet's detectors have it
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='PackRegionTextInputs'),
]
proposals_loader = dict(
    batch_size=8,
    dataset=dict(proposal_file=proposal_file, pipeline=proposals_pipeline),
)
