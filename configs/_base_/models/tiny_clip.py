# A CLIP that a CPU trains in minutes, in the schema of open_clip's model
# files: 128 wide, a grid of 80 / 10 = 8 x 8.
tiny_clip = dict(
    embed_dim=128,
    quick_gelu=True,
    vision_cfg=dict(
        image_size=80, patch_size=10, width=128, head_width=32, layers=4
    ),
    text_cfg=dict(width=128, heads=4, layers=2),
)
