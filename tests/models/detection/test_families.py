"""The detector on CLIPs of every family."""

import pytest
import tiny_clips
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper

from harmoclip_mm.registry import MODELS

WIDTHS = dict(
    convnext=[16, 32, 48, 64],
    fastvit=[16, 32, 64, 128],
    resnet=[32, 64, 128, 256],
)


@pytest.fixture(params=tiny_clips.ALL)
def family_cfg(request, cfg):
    """The detector's config with the CLIP of a family; stages of a
    convolutional tower are a pyramid, blocks of a transformer become one."""
    spec = tiny_clips.ALL[request.param]
    cfg.backbone.clip = ConfigDict(spec)
    cfg.text_encoder = dict(type='harmoclip_mm.CLIPTextEncoder')
    width = 24 if request.param == 'siglip' else 48
    strides = [4, 8, 16]
    neck = dict(
        type='harmoclip_mm.SimpleFeaturePyramid',
        in_channels=width,
        scale_factors=(2, 1, 0.5),
        top_down=True,
        norm_cfg=dict(type='GN', num_groups=4),
    )
    if request.param in WIDTHS:
        cfg.backbone.out_indices = (0, 1, 2, 3)
        strides = [4, 8, 16, 32]
        neck = dict(type='FPN', in_channels=WIDTHS[request.param], num_outs=4)
    else:
        cfg.backbone.out_indices = (0, 1, 2)
    cfg.neck = dict(neck, out_channels=16)
    cfg.rpn_head.anchor_generator.strides = strides
    cfg.roi_head.bbox_roi_extractor.featmap_strides = strides
    return cfg


def test_training_steps_and_predictions(family_cfg, batch):
    model = MODELS.build(family_cfg)
    model.init_weights()
    tiny_clips.shake(model.backbone)
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    wrapper = OptimWrapper(
        torch.optim.AdamW(
            [w for w in model.parameters() if w.requires_grad], lr=3e-3
        )
    )
    model.train()
    assert not model.backbone.training
    img, samples = batch
    values = []
    for _ in range(12):
        losses, _ = model.parse_losses(model.loss(img, samples))
        values.append(losses.item())
        wrapper.update_params(losses)
    assert sum(values[-3:]) < 0.8 * sum(values[:3]), values
    after = model.backbone.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    model.eval()
    for sample in samples:
        sample.set_metainfo(dict(text=['red star', 'dog']))
    with torch.no_grad():
        for sample in model.predict(img, samples):
            found = sample.pred_instances
            assert len(found) and found.labels.max() <= 1
            assert torch.isfinite(found.scores).all()


def test_region_probabilities_are_those_of_the_clip(family_cfg, batch):
    """Boxes classified by HarmoCLIP on the same towers, by a softmax of the
    detector's own scale, whether the CLIP has a bias or none."""
    clip = MODELS.build(
        dict(
            type='harmoclip_mm.HarmoCLIP',
            clip=family_cfg.backbone.clip,
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
        )
    )
    tiny_clips.shake(clip, 3).eval()
    model = MODELS.build(family_cfg)
    model.init_weights()
    model.backbone.load_state_dict(clip.backbone.state_dict())
    model.text_encoder.load_state_dict(clip.text_encoder.state_dict())
    model.eval().set_vocabulary(['dog', 'cat', 'red_car'])
    boxes = [
        torch.tensor([[0.0, 0.0, 16.0, 16.0], [3.0, 5.0, 40.0, 33.0]]),
        torch.tensor([[9.0, 2.0, 30.0, 39.0]]),
    ]
    with torch.no_grad():
        _, dense = model.backbone.forward_with_dense(batch[0])
        found = model.roi_head.region_probabilities(
            dense, boxes, model.backbone.patch_size
        )
        regions = clip.encode_regions(batch[0], boxes)
        texts = clip.encode_text(
            [f'a photo of a {name}.' for name in ('dog', 'cat', 'red car')]
        )
        for each, region in zip(found, regions):
            torch.testing.assert_close(
                each,
                (100 * region @ texts.t()).softmax(dim=1),
                atol=1e-4,
                rtol=1e-3,
            )
