"""mmdet's own detectors on the vision towers, by config alone."""

import subprocess
import sys

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version
from tiny_clips import CLIPA, CONVNEXT, EVA02, PE, SIGLIP, VIT

NARROW_DINO = digit_version('3.4')
CONFIG = """
_base_ = 'mmdet::{base}'
custom_imports = dict(imports=['harmoclip_mm'])
model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    backbone=dict(
        _delete_=True,
        type='harmoclip_mm.HarmoCLIPBackbone',
        clip={clip!r},
        {backbone}
    ),
    neck=dict(_delete_=True, out_channels=32, {neck}),
    {heads}
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='harmoclip_mm.BackboneLayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.0),
    paramwise_cfg=dict(layer_decay_rate=0.5),
)
"""
# patches of 8 px
PYRAMID = "type='harmoclip_mm.SimpleFeaturePyramid', in_channels={}, "
RETINANET = dict(
    base='retinanet/retinanet_r50_fpn_1x_coco.py',
    neck=PYRAMID + 'scale_factors=(1, 0.5, 0.25), num_outs=5',
    heads='bbox_head=dict(in_channels=32, feat_channels=32)',
)
MASK_RCNN = dict(
    base='mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    neck=PYRAMID + 'scale_factors=(2, 1, 0.5), num_outs=5',
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
    neck=PYRAMID + 'scale_factors=(1, 0.5, 0.25), num_outs=4',
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
WINDOWS = 'img_size=64, window_size=3, global_indices=(1, 2)'
# neither square nor multiples of the patch, and batches of unequal images
SHAPES = [(3, 101, 75), (3, 58, 131)]


def build(folder, base, neck, heads, clip=VIT, backbone=WINDOWS):
    """The detector and the optimizer of a config."""
    width = 24 if clip is SIGLIP else 48
    text = CONFIG.format(
        base=base,
        neck=neck.format(width),
        heads=heads,
        clip=clip,
        backbone=backbone,
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


STAGES = dict(
    RETINANET,
    neck="type='FPN', in_channels=[32, 48, 64], num_outs=5",
    backbone='out_indices=(1, 2, 3)',
)


def of_several(detector, indices=(0, 1, 2)):
    """A map of each of these blocks, and the path from coarse to fine."""
    return dict(
        detector,
        neck=detector['neck'] + ', top_down=True',
        backbone=f'{WINDOWS}, out_indices={indices}',
    )


@pytest.mark.parametrize(
    ('detector', 'clip'),
    [
        (RETINANET, VIT),
        (RETINANET, CLIPA),
        (of_several(RETINANET), EVA02),
        (of_several(RETINANET), SIGLIP),
        (STAGES, CONVNEXT),
        (MASK_RCNN, VIT),
        (of_several(MASK_RCNN), VIT),
        (MASK_RCNN, PE),
        (DINO, VIT),
        (DINO, EVA02),
    ],
    ids=lambda x: x['base'].split('/')[0] if 'base' in x else 'x',
)
def test_detectors_train_and_predict(tmp_path, detector, clip):
    if detector is DINO and digit_version(mmdet.__version__) < NARROW_DINO:
        pytest.skip('this DINO knows 256 channels alone')
    model, optim_wrapper = build(tmp_path, **detector, clip=clip)
    assert type(model.backbone).__name__ == 'HarmoCLIPBackbone'
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
    family = model.backbone.family
    seen = family.stem + family.block_names
    joint_space = {
        f'backbone.visual.{name}'
        for name, _ in model.backbone.visual.named_parameters()
        if not name.startswith(seen)
    }
    assert joint_space
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


@pytest.mark.parametrize(
    ('detector', 'clip'),
    [(RETINANET, VIT), (RETINANET, EVA02), (STAGES, CONVNEXT)],
    ids=['vit', 'eva02', 'convnext'],
)
def test_checkpointing_keeps_gradients(tmp_path, detector, clip):
    model, _ = build(tmp_path, **detector, clip=clip)
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
    """3 blocks, lr 1e-3, decay 0.5; neck and heads behind them."""
    model, optim_wrapper = build(tmp_path, **detector)
    groups = optim_wrapper.optimizer.param_groups
    rates = {group['param_name']: group['lr'] for group in groups}
    assert rates.keys() == dict(model.named_parameters()).keys()
    tower = 'backbone.visual.'
    first = ('class_embedding', 'positional_embedding', 'conv1', 'ln_pre')
    for name, rate in rates.items():
        depth = 4
        if name.startswith(f'{tower}transformer.resblocks.'):
            depth = 1 + int(name.split('.')[4])
        elif name.startswith(tuple(tower + each for each in first)):
            depth = 0
        assert rate == pytest.approx(1e-3 * 0.5 ** (4 - depth)), name


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
    assert done.stdout.split()[-1] == 'HarmoCLIPBackbone'
