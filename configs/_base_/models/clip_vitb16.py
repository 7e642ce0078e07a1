# CLIP ViT-B/16 of OpenAI (arXiv 2103.00020, table 20): 149.6 M parameters.
model = dict(
    type='HarmoCLIP',
    data_preprocessor=dict(
        type='harmoclip_mm.RegionTextDataPreprocessor',
        # CLIP's mean and standard deviation (openai/CLIP, clip/clip.py) x 255
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='HarmoCLIPViT',
        arch='base',
        img_size=224,
        patch_size=16,
        out_dims=512,
    ),
    text_encoder=dict(
        type='CLIPTextTransformer',
        embed_dims=512,
        num_layers=12,
        num_heads=8,
        out_dims=512,
    ),
    region_extractor=dict(type='RoIFeatureExtractor'),
    classifier=dict(
        type='ZeroShotClassifier', vocabulary='coco80', templates='openai80'
    ),
)
