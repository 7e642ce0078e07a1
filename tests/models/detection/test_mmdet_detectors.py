"""mmdet's own detectors on the vision towers, by config alone."""

import subprocess
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

CONFIG = """
_base_ = 'mmdet::{base}'
custom_imports = dict(imports=['harmoclip_mm'])
model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    backbone=dict(
        _delete_=True,
        type='harmoclip_mm.{tower}',
        arch=dict(
            embed_dims=32,
            num_layers=4,
            num_heads=2,
            feedforward_channels=64,
        ),
        img_size=64,
        patch_size=16,
        out_indices={out_indices},
        window_size=3,
        global_indices=(1, 3),
    ),
    neck=dict(
        _delete_=True,
        type='harmoclip_mm.SimpleFeaturePyramid',
        in_channels=32,
        out_channels=32,
        {neck}
    ),
    {heads}
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='harmoclip_mm.LearningRateDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.0),
    paramwise_cfg=dict(layer_decay_rate=0.5),
)
"""
RETINANET = dict(
    base='retinanet/retinanet_r50_fpn_1x_coco.py',
    neck='scale_factors=(2, 1, 0.5), num_outs=5',
    heads='bbox_head=dict(in_channels=32, feat_channels=32)',
)
MASK_RCNN = dict(
    base='mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    neck='num_outs=5',
    heads="""
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=32),
        mask_roi_extractor=dict(out_channels=32),
        mask_head=dict(in_channels=32, conv_out_channels=32)),
    """,
)
LAYER = dict(self_attn_cfg=dict(embed_dims=32), ffn_cfg=dict(embed_dims=32))
DINO = dict(
    base='dino/dino-4scale_r50_8xb2-12e_coco.py',
    neck='scale_factors=(2, 1, 0.5), num_outs=4',
    heads=f"""
    num_queries=20,
    encoder=dict(num_layers=1, layer_cfg=dict({LAYER!r})),
    decoder=dict(
        num_layers=2,
        layer_cfg=dict(cross_attn_cfg=dict(embed_dims=32), **{LAYER!r})),
    positional_encoding=dict(num_feats=16),
    bbox_head=dict(embed_dims=32),
    """,
)
VIT, EVA02 = 'HarmoCLIPViT', 'HarmoCLIPEVA02'
# neither square nor multiples of the patch, and batches of unequal images
SHAPES = [(3, 101, 75), (3, 58, 131)]


def build(folder, base, neck, heads, tower=VIT, out_indices=-1):
    """The detector and the optimizer of a config."""
    text = CONFIG.format(
        base=base, neck=neck, heads=heads, tower=tower, out_indices=out_indices
    )
    path = folder / 'config.py'
    path.write_text(text)
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    assert cfg.default_scope == 'mmdet'
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def batch(with_mask=False):
    return demo_mm_inputs(
        2, SHAPES, num_items=[2, 1], num_classes=80, with_mask=with_mask
    )


@pytest.mark.parametrize(
    ('detector', 'tower', 'out_indices', 'extra'),
    [
        (RETINANET, VIT, -1, ''),
        (RETINANET, EVA02, (0, 1, 3), ', top_down=True'),
        (MASK_RCNN, VIT, -1, ''),
        (MASK_RCNN, VIT, (0, 1, 2, 3), ', top_down=True'),
        (DINO, VIT, -1, ''),
        (DINO, EVA02, -1, ''),
    ],
    ids=lambda x: x['base'].split('/')[0] if isinstance(x, dict) else None,
)
def test_detectors_train_and_predict(
    tmp_path, detector, tower, out_indices, extra
):
    detector = dict(detector, neck=detector['neck'] + extra)
    model, optim_wrapper = build(
        tmp_path, **detector, tower=tower, out_indices=out_indices
    )
    assert type(model.backbone).__name__ == tower
    with_mask = detector['base'].startswith('mask')
    before = {name: x.clone() for name, x in model.state_dict().items()}
    model.train()
    for _ in range(2):  # some weights of DINO start to count after a step
        logs = model.train_step(batch(with_mask), optim_wrapper)
    assert all(torch.isfinite(value).all() for value in logs.values())
    # without weight decay a weight moves only if it has a gradient
    still = {
        name
        for name, weight in model.state_dict().items()
        if torch.equal(weight, before[name])
    }
    joint_space = {
        f'backbone.{name}'
        for name, _ in model.backbone.named_parameters()
        if name.startswith(('ln1', 'proj'))
    }
    towers = {x for x in still if x.startswith(('backbone.', 'neck.'))}
    assert towers == joint_space
    heads = {name.split('.')[0] for name in before} - {'backbone', 'neck'}
    moved = {name.split('.')[0] for name in before.keys() - still}
    assert heads - {'data_preprocessor'} <= moved

    model.eval()
    with torch.no_grad():
        results = model.test_step(batch(with_mask))
    assert len(results) == 2
    for result in results:
        assert torch.isfinite(result.pred_instances.bboxes).all()
        assert result.pred_instances.labels.lt(80).all()


@pytest.mark.parametrize('tower', [VIT, EVA02])
def test_checkpointing_keeps_gradients(tmp_path, tower):
    model, _ = build(tmp_path, **RETINANET, tower=tower)
    model.train()
    data = model.data_preprocessor(batch(), training=True)
    grads = []
    for with_cp in (False, True):
        model.backbone.with_cp = with_cp
        model.zero_grad()
        losses = model(**data, mode='loss')
        model.parse_losses(losses)[0].backward()
        grads.append({n: p.grad for n, p in model.named_parameters()})
    for name, grad in grads[0].items():
        other = grads[1][name]
        assert (grad is None) == (other is None), name
        assert grad is None or torch.equal(grad, other), name


@pytest.mark.parametrize('detector', [MASK_RCNN, DINO])
def test_layer_decay(tmp_path, detector):
    """4 blocks, lr 1e-3, decay 0.5; neck and heads behind them."""
    model, optim_wrapper = build(tmp_path, **detector)
    groups = optim_wrapper.optimizer.param_groups
    rates = {group['param_name']: group['lr'] for group in groups}
    assert rates.keys() == dict(model.named_parameters()).keys()
    for name, rate in rates.items():
        depth = 5
        if name.startswith('backbone.layers.'):
            depth = 1 + int(name.split('.')[2])
        elif name.startswith(('backbone.p', 'backbone.cls_token')):
            depth = 5 if name.startswith('backbone.proj') else 0
        assert rate == pytest.approx(1e-3 * 0.5 ** (5 - depth)), name


@pytest.mark.slow
def test_a_fresh_process_needs_the_config_alone(tmp_path):
    """Nothing of this package is imported but by ``custom_imports``."""
    build(tmp_path, **RETINANET)
    code = (
        'import sys\n'
        'from mmdet.registry import MODELS\n'
        'from mmengine.config import Config\n'
        'from mmengine.registry import init_default_scope\n'
        "assert 'harmoclip_mm' not in sys.modules\n"
        'cfg = Config.fromfile(sys.argv[1])\n'
        "init_default_scope('mmdet')\n"
        'print(type(MODELS.build(cfg.model).backbone).__name__)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, tmp_path / 'config.py'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == VIT
