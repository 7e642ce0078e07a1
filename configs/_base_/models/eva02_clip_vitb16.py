_base_ = './clip_vitb16.py'
# EVA-02-CLIP B/16 (arXiv 2303.15389, table 3): 149.7 M parameters.
model = dict(
    backbone=dict(
        _delete_=True,
        type='HarmoCLIPEVA02',
        arch='base',
        img_size=224,
        patch_size=16,
        out_dims=512,
    ),
    # The exact GELU: EVA-CLIP's text towers are not OpenAI's.
    text_encoder=dict(act_cfg=dict(type='GELU')),
)
