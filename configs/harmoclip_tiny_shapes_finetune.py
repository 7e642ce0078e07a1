# HarmoCLIP on shapes, from a trained CLIP: load_from names it. GR ties regions
# to their crops as well, encoded with gradient, as FineCLIP does; whether they
# are worth it is open (docs/method.md).
_base_ = './harmoclip_tiny_shapes.py'
model = dict(
    heads=dict(
        lrc=dict(loss=dict(loss_weight=0.5)),
        gr=dict(mode='both', crop_encoder='online'),
    ),
    crop_extractor=dict(type='CropFeatureExtractor', context=1.5),
)
