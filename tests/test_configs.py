"""Every training config builds model, data, optimizer, schedule and metrics.

Those of `configs/evaluation/` have tests in tests/configs/. The data are a few
made pictures in COCO's layout.
"""

import ast
import copy
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from harmoclip_mm.apis import load_config

REPOSITORY = Path(__file__).resolve().parents[1]
ALL_CONFIGS = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (REPOSITORY / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
# Those that only evaluate; tests/configs/ runs them on photos.
EVALUATIONS = [name for name in ALL_CONFIGS if '/evaluation/' in name]
# Detectors, of mmdet and open-vocabulary; tests/configs/ trains them.
DETECTORS = [name for name in ALL_CONFIGS if 'detection/' in name]
# Those whose texts need a tokenizer of the Hugging Face hub;
# tests/configs/test_clip_line.py builds them.
OF_THE_HUB = ['configs/harmoclip_siglip2-vitb16_coco.py']
# Trained and tested by tests/configs/test_own_data.py.
TEMPLATES = ['configs/harmoclip_vitb16_own-data.py']
CONFIGS = [
    name
    for name in ALL_CONFIGS
    if name not in (*EVALUATIONS, *DETECTORS, *OF_THE_HUB, *TEMPLATES)
]
# Parameters of OpenAI's models (the sums over their state dicts, as
# open_clip reports them); ours have those of LRC and GR more.
PARAMETERS = {
    'configs/harmoclip_vitb16_coco.py': 149_620_737 + 2,
    'configs/harmoclip_vitl14_coco.py': 427_616_513 + 2,
}


def test_the_configs_of_the_readme_exist():
    assert {
        'configs/baselines/clip_vitb16_8xb32-10e_coco.py',
        'configs/baselines/clipself_vitb16_8xb2-6e_coco.py',
        'configs/baselines/fineclip_vitb16_8xb32-10e_coco.py',
        'configs/baselines/regionclip_vitb16_8xb32-10e_coco.py',
        'configs/harmoclip_tiny_photos.py',
        'configs/harmoclip_vitb16_coco.py',
        'configs/harmoclip_vitl14_coco.py',
        *OF_THE_HUB,
    } <= set(ALL_CONFIGS)


@pytest.fixture(scope='module', autouse=True)
def data(tmp_path_factory, made_coco):
    """Folder to work in; that of the data is named by the environment as a
    user would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('COCO_ROOT', str(made_coco))
        patch.delenv('COCO_PHRASES', raising=False)
        yield tmp_path_factory.mktemp('data')


@pytest.fixture(scope='module', params=CONFIGS)
def config(request, data) -> Config:
    """A config as the tools read it, data loaded in this process."""
    config = load_config(
        str(REPOSITORY / request.param), work_dir=str(data / request.param)
    )
    for name in ('train', 'val', 'test'):
        loader = config.get(f'{name}_dataloader')
        if loader:
            loader.update(num_workers=0, persistent_workers=False)
    if config.optim_wrapper.type == 'AmpOptimWrapper':  # refuses a CPU
        config.optim_wrapper.update(type='OptimWrapper')
        config.optim_wrapper.pop('dtype')
    config.relative_name = request.param
    config.experiment_name = re.sub(r'\W', '_', request.param)
    return config


@pytest.fixture(scope='module')
def runner(config) -> Runner:
    """The Runner of a config, with its model; tests of a config share it.

    Weights of the large ones are not drawn: only their shapes count.
    """
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(config.clip, str):
            for name in ('kaiming_uniform_', 'normal_', 'trunc_normal_'):
                patch.setattr(torch.nn.init, name, lambda x, *_, **__: x)
        return Runner.from_cfg(config)


def own_text(config: Config) -> str:
    return (REPOSITORY / config.relative_name).read_text()


def test_batch_sizes_agree_with_the_header(config):
    """`8 GPUs x 32 images` in a header is what the config does."""
    stated = re.search(r'(\d+) GPUs x (\d+) images', own_text(config))
    batch = config.train_dataloader.batch_size
    gpus = 1
    if stated:
        gpus = int(stated[1])
        assert batch == int(stated[2])
    assert config.auto_scale_lr.base_batch_size == gpus * batch
    assert not config.auto_scale_lr.enable


def test_model_has_the_size_it_is_named_for(config, runner):
    model = runner.model
    vision, text = model.backbone, model.text_encoder
    assert vision.out_dims == text.out_dims
    clip = config.clip
    if isinstance(clip, dict):  # nothing of a base's is left
        assert vision.out_dims == clip.embed_dim
        assert vision.block_dims[-1] == clip.vision_cfg.width
        assert vision.num_layers == clip.vision_cfg.layers
    else:
        assert vision.spec.name == text.spec.name == clip
    assert set(model.heads) == set(config.model.heads)
    if config.relative_name in PARAMETERS:
        count = sum(weight.numel() for weight in model.parameters())
        assert count == PARAMETERS[config.relative_name]


def training_size(config: Config, model) -> tuple:
    """Height and width of the images that a config trains on."""
    dataset = config.train_dataloader.dataset
    while 'pipeline' not in dataset:  # SeededDataset
        dataset = dataset.dataset
    (resize,) = (
        step
        for step in dataset.pipeline
        if step.type in ('CLIPResize', 'CaptionMosaic')
    )
    if 'map_cells' in resize:  # CLIPSelf's are larger than the crops
        return (resize.map_cells * model.backbone.patch_size,) * 2
    return tuple(model.backbone.img_size)


def test_training_steps_as_the_schedule_says(config, runner):
    """Loss, gradient, optimizer and schedule on a batch of the config."""
    runner._train_dataloader = copy.deepcopy(config.train_dataloader)
    runner._train_dataloader.update(batch_size=2, drop_last=False)
    loop = runner.build_train_loop(config.train_cfg)
    runner._train_loop = loop
    runner.optim_wrapper = runner.build_optim_wrapper(config.optim_wrapper)
    schedulers = runner.build_param_scheduler(config.param_scheduler)
    assert len(schedulers) == len(config.param_scheduler)
    wrapper, model = runner.optim_wrapper, runner.model

    undecayed = {
        id(group['params'][0])
        for group in wrapper.optimizer.param_groups
        if group['weight_decay'] == 0
    }
    trained = {n: w for n, w in model.named_parameters() if w.requires_grad}
    for name, weight in trained.items():
        # as CLIP: matrices and position embeddings decay, the rest does not
        plain = weight.dim() < 2 or 'cls_token' in name
        assert (id(weight) in undecayed) == plain, name

    batch = next(iter(loop.dataloader))
    inputs = batch['inputs'][0]
    assert tuple(inputs.shape[1:]) == training_size(config, model)
    if sum(weight.numel() for weight in model.parameters()) > 50e6:
        return  # test_end_to_end.py trains the large ones
    model.init_weights()
    before = {name: w.clone() for name, w in model.state_dict().items()}
    logs = model.train_step(batch, wrapper)
    expected = {f'loss_{name}' for name in config.model.heads}
    assert expected | {'loss'} == set(logs)
    assert all(torch.isfinite(value) for value in logs.values())
    changed = {
        name.split('.')[0]
        for name, weight in model.state_dict().items()
        if not torch.equal(weight, before[name])
    }
    towers = {'backbone', 'text_encoder'}
    assert towers & {name.split('.')[0] for name in trained} <= changed
    assert 'backbone' in changed
    for name, weight in model.named_parameters():
        assert name in trained or torch.equal(weight, before[name])


@pytest.mark.parametrize('split', ['val', 'test'])
def test_evaluation_scores_the_classes_of_the_data(config, runner, split):
    """The classes of the data travel with its samples."""
    loader = runner.build_dataloader(config[f'{split}_dataloader'])
    evaluator = runner.build_evaluator(config[f'{split}_evaluator'])
    classes = tuple(loader.dataset.metainfo['classes'])
    assert {type(metric).__name__ for metric in evaluator.metrics} >= {
        'BoxClassificationMetric',
        'ImageTextRetrievalMetric',
    }
    assert len(loader.dataset) == 8
    sample = loader.dataset[0]
    size = runner.model.backbone.img_size
    assert tuple(sample['inputs'].shape[1:]) == tuple(size)
    sample = sample['data_samples']
    assert tuple(sample.text) == classes
    assert len(sample.caption_ids) == len(sample.captions) >= 1
    names = [classes[label] for label in sample.gt_instances.labels]
    assert names


def test_phrases_may_lie_outside_the_data_root(
    data, made_coco, monkeypatch, harmoclip_scope
):
    """`COCO_PHRASES` leaves the images' folder untouched."""
    annotations = made_coco / 'annotations'
    elsewhere = data / 'elsewhere.jsonl'
    text = (annotations / 'phrases_train2017.jsonl').read_text()
    elsewhere.write_text(text.splitlines()[0] + '\n')  # one of the images
    monkeypatch.setenv('COCO_PHRASES', str(elsewhere))
    config = load_config(
        str(REPOSITORY / 'configs/harmoclip_vitb16_coco.py'),
        {'train_dataloader.num_workers': 0},
    )
    config.train_dataloader.update(
        persistent_workers=False, batch_size=1, drop_last=False
    )
    loader = Runner.build_dataloader(config.train_dataloader)
    assert len(loader.dataset) == 1
    path = loader.dataset[0]['data_samples'].img_path
    assert path == os.path.join(str(made_coco), 'train2017/1.jpg')


@pytest.mark.parametrize(
    'path',
    sorted((REPOSITORY / 'configs').rglob('*.py')),
    ids=lambda path: path.stem,
)
def test_no_config_imports(path):
    """mmengine 0.10 takes a config with an import for a lazy one, and refuses
    to mix it with text-style bases."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, (ast.Import, ast.ImportFrom))
