# HarmoCLIP on shapes, from a trained CLIP: load_from names it. Weights of the
# losses are those of the other fine-tunings.
_base_ = './harmoclip_tiny_shapes.py'
model = dict(
    heads=dict(
        lrc=dict(loss=dict(loss_weight=0.5)),
        gr=dict(loss=dict(loss_weight=0.5)),
    )
)
