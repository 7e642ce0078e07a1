"""Families, methods and tasks that a test of all kinds goes through.

Settings of the tiny model of the fixture ``tiny_cfg``; None leaves it.
"""

import tiny_clips

CLIPS = {
    'vit': None,
    'siglip': tiny_clips.SIGLIP,
    'pe': tiny_clips.PE,
    'eva02': tiny_clips.EVA02,
    'convnext': tiny_clips.CONVNEXT,
    'resnet': tiny_clips.RESNET,
}
CROPS = dict(crop_extractor=dict(type='CropFeatureExtractor'))
GR = 'RegionAlignmentHead'
METHODS = {
    'harmoclip': {},
    'fineclip': dict(
        heads=dict(gr=dict(type=GR, mode='both', crop_encoder='online')),
        **CROPS,
    ),
    'clipself': dict(
        heads=dict(gr=dict(type=GR, mode='crop', crop_encoder='teacher')),
        **CROPS,
    ),
    'regionclip': dict(
        heads=dict(
            gr=dict(type=GR, mode='text'),
            kd=dict(type='ConceptDistillationHead'),
        ),
        **CROPS,
    ),
    'fgclip': dict(
        heads=dict(
            gr=dict(type=GR, mode='text'), hard=dict(type='HardNegativeHead')
        )
    ),
    'sffclip': dict(
        heads=dict(gr=dict(type=GR, mode='text', weigh_fit=True)), **CROPS
    ),
    'siglip': dict(
        heads=dict(
            lrc=dict(
                type='RegionPhraseHead',
                loss=dict(type='SigmoidContrastiveLoss'),
            )
        )
    ),
    'micro-batches': dict(micro_batch_size=2),
}
TASKS = {
    'boxes and retrieval': None,
    'proposals': dict(proposals=dict(type='ProposalClassPredictor')),
    'candidates': dict(texts=dict(type='CandidateTextPredictor')),
    'referring': dict(boxes=dict(type='ReferringPredictor')),
    'images': dict(images=dict(type='ImageClassPredictor')),
}
