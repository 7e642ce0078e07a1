_base_ = './clip_vitb16.py'
# A CLIP that a CPU trains in minutes: 128 wide, a grid of 80 / 10 = 8 x 8.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=128,
            num_layers=4,
            num_heads=4,
            feedforward_channels=512,
        ),
        img_size=80,
        patch_size=10,
        out_dims=128,
    ),
    text_encoder=dict(embed_dims=128, num_layers=2, num_heads=4, out_dims=128),
)
