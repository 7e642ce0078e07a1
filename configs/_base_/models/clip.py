# A CLIP and what is asked of it. `clip` names it: any of docs/clips.md, a
# folder, or a dict as in tiny_clip.py. A config of your own, or
# `--cfg-options clip=NAME`, changes this one line: the tools' load_config
# writes it into every part that has a `clip`, in model, data and evaluation.
clip = 'ViT-B-16-quickgelu'
model = dict(
    type='HarmoCLIP',
    clip=None,
    region_extractor=dict(type='RoIFeatureExtractor'),
    # what a test answers: classes of given boxes, and retrieval
    predictors=dict(
        boxes=dict(
            type='BoxClassPredictor', classifier=dict(templates='openai80')
        ),
        retrieval=dict(type='RetrievalPredictor'),
    ),
)
