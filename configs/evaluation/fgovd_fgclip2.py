# FG-OVD as FG-CLIP 2 evaluates it: as fgovd.py, the texts lower-cased. CLIP's
# byte pairs ignore case, so it matters only for a tokenizer that does not.
_base_ = './fgovd.py'
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.test_dataloader.dataset.pipeline[:3],
            dict(type='TokenizeCandidates', clip=_base_.clip, lower=True),
            dict(type='PackRegionTextInputs'),
        ]
    )
)
benchmark = dict(
    task='right text of a box, FG-OVD, protocol fgclip2', quick=False
)
