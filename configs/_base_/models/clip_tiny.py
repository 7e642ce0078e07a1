_base_ = './clip_vitb16.py'
# A CLIP that a CPU trains in minutes: 128 wide, 4 blocks, a grid of 10 x 10.
model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=128,
            num_layers=4,
            num_heads=4,
            feedforward_channels=512,
        ),
        img_size=80,
        patch_size=8,
        out_dims=128,
    ),
    text_encoder=dict(embed_dims=128, num_layers=3, num_heads=4, out_dims=128),
)
