"""``compare.py``: its plan, and a real comparison of a few steps."""

import json
from dataclasses import replace
from pathlib import Path

import compare
import plot
import pytest
import torch
from mmengine.config import Config
from rich.console import Console

from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file
from harmoclip_mm.registry import MODELS
from shapes import ablations, plan
from shapes import run as running
from shapes.results import curve, load_results
from shapes.tables import all_tables

RECIPE = plan.RECIPES['shapes']


def spec_of(run, **extra):
    return {
        'config': str(run.config),
        'work_dir': 'unused',
        'options': run.options,
        'without': list(run.variant.without),
        'transforms': list(run.variant.transforms),
        'steps': run.steps,
        'lr': run.lr,
        'warmup': run.recipe.warmup,
        'seed': run.seed,
        'load_from': 'start.pth',
        'ema_momentum': run.recipe.ema_momentum,
        **extra,
    }


# --- the plan ---


def test_methods_are_trained_equally_long_from_one_start():
    first, *runs = plan.main_runs(RECIPE, 'clip', 1, list(plan.METHOD_NAMES))
    assert first == plan.pretraining(RECIPE, 'clip', 1)
    assert first.is_start and first.steps == RECIPE.pretrain_steps
    assert [run.method for run in runs] == list(plan.METHOD_NAMES)
    assert {(run.steps, run.lr, run.seed) for run in runs} == {
        (RECIPE.tune_steps, RECIPE.tune_lr, 1)
    }
    names = [run.name for run in (first, *runs)]
    assert len(set(names)) == len(names)


def test_a_start_of_the_sigmoid_loss_is_trained_longer():
    first, *runs = plan.main_runs(RECIPE, 'siglip', 1, ['fineclip'])
    assert first.steps == 3 * RECIPE.pretrain_steps
    assert runs[0].steps == RECIPE.tune_steps


def test_ablations_run_each_variant_once():
    runs = ablations.ablation_runs(RECIPE, 'clip', 0)
    names = [run.variant.name for run in runs]
    listed = {
        variant.name
        for variants in ablations.TABLES.values()
        for variant in variants
    }
    assert len(names) == len(set(names))
    assert listed == {*names, plan.DEFAULT}
    # rows of one name are one training
    for name in names:
        settings = [
            (variant.options, variant.without, variant.transforms)
            for variants in ablations.TABLES.values()
            for variant in variants
            if variant.name == name
        ]
        assert all(
            list(map(list, each)) == list(map(list, settings[0]))
            for each in settings
        ), name


def test_variants_change_what_they_name(harmoclip_scope):
    runs = [
        plan.Run(RECIPE, 'harmoclip', 'clip', 0),
        *ablations.ablation_runs(RECIPE, 'clip', 0),
    ]
    built = {
        run.variant.name: running.make_config(spec_of(run)) for run in runs
    }
    texts = {
        name: json.dumps(
            [cfg.model, cfg.optim_wrapper, cfg.train_dataloader.dataset]
        )
        for name, cfg in built.items()
    }
    assert len(set(texts.values())) == len(texts), 'two variants are the same'
    heads = {name: cfg.model.heads for name, cfg in built.items()}
    assert set(heads['lrc-1.5']) == {'gc', 'lrc'}
    assert set(heads['gr-1.5']) == {'gc', 'gr'}
    assert set(heads['hard']) == {'gc', 'lrc', 'gr', 'hard'}

    def region_weight(name):
        return sum(
            head.loss.loss_weight
            for key, head in heads[name].items()
            if key != 'gc'
        )

    for name in ('mislinked-0.2', 'few', 'elided'):
        assert region_weight(f'gr-1.5-{name}') == region_weight(name) == 1.5
    for name in (plan.DEFAULT, 'gr-1.5', 'lrc-1.5', 'lrc-0.5'):
        assert region_weight(name) == 1.5
    for name, steps in {
        'mislinked-0.2': [
            'mmdet.LoadAnnotations', 'MislinkRegions', 'TokenizeRegionText',
        ],
        # words are exchanged in phrases as they are trained
        'fgclip-elided': ['ElideColours', 'ExchangeWords'],
    }.items():  # fmt: skip
        pipeline = built[name].train_dataloader.dataset.pipeline
        kinds = [each['type'] for each in pipeline]
        places = [kinds.index(step) for step in steps]
        assert places == sorted(places)


@pytest.mark.parametrize('start', plan.STARTS)
@pytest.mark.parametrize('method', plan.METHOD_NAMES)
def test_every_method_builds_on_every_start(harmoclip_scope, method, start):
    run = plan.Run(RECIPE, method, start, 0)
    model = MODELS.build(running.make_config(spec_of(run)).model)
    assert model.backbone.img_size == (RECIPE.size, RECIPE.size)
    assert (model.logit_scale.bias is None) == (start == 'clip')
    frozen = not next(model.text_encoder.parameters()).requires_grad
    assert frozen == (method in ('regionclip', 'clipself', 'fineclip'))


def test_hard_negatives_are_no_held_out_combinations(monkeypatch, tmp_path):
    novel = tmp_path / 'annotations/novel_classes.txt'
    novel.parent.mkdir()
    novel.write_text('red star\n')
    monkeypatch.setenv('SHAPES_ROOT', str(tmp_path))
    cfg = Config.fromfile(str(plan.config_of('fgclip')))
    (step,) = [
        each
        for each in cfg.train_dataloader.dataset.pipeline
        if each.type == 'ExchangeWords'
    ]
    assert step.forbidden == f'{tmp_path}/annotations/novel_classes.txt'
    words = [word for kind in step.words for word in kind]
    vocabularies = [
        json.loads(path.read_text())['classes']
        for path in plan.PROJECT.glob('shapes/*80.json')
    ]
    for classes in vocabularies:
        for name in classes:
            assert set(name.lower().split()) <= set(words)


def test_schedule_is_warm_up_then_cosine_of_all_steps():
    run = plan.Run(RECIPE, 'clip', 'clip', 0)
    cfg = running.make_config(spec_of(run, steps=100, warmup=50))
    linear, cosine = cfg.param_scheduler
    assert linear['end'] == cosine['begin'] == 25  # a quarter at most
    assert cosine['end'] == 100 and cosine['T_max'] == 75
    assert cfg.train_cfg.max_iters == 100
    assert cfg.optim_wrapper.optimizer.lr == run.lr
    cfg = running.make_config(spec_of(run, steps=2))
    assert len(cfg.param_scheduler) == 1


def test_both_splits_get_the_same_metrics():
    cfg = running.make_config(spec_of(plan.Run(RECIPE, 'clip', 'clip', 0)))
    for split, loader in (
        ('val', cfg.val_dataloader),
        ('test', cfg.test_dataloader),
    ):
        dataset = loader.dataset
        assert dataset.ann_file == f'annotations/instances_{split}.json'
        assert f'captions_{split}' in str(dataset.pipeline)
    assert cfg.val_evaluator == cfg.test_evaluator
    # the training itself is not interrupted by evaluations
    assert cfg.train_cfg.val_begin > cfg.train_cfg.max_iters


def test_configs_of_the_methods_share_their_towers():
    towers = set()
    for method in plan.METHOD_NAMES:
        model = Config.fromfile(plan.config_of(method)).model
        parts = [model.clip, model.get('backbone'), model.get('text_encoder')]
        towers.add(json.dumps(parts))
    assert len(towers) == 1


def test_fine_tuning_differs_from_scratch_by_weights_alone():
    tuned, scratch = (
        Config.fromfile(str(plan.config_of(name))).model
        for name in ('harmoclip_finetune', 'harmoclip')
    )
    losses = [
        {head: model.heads[head].pop('loss') for head in ('lrc', 'gr')}
        for model in (tuned, scratch)
    ]
    assert losses == [
        dict(lrc=dict(loss_weight=0.25), gr=dict(loss_weight=1.25)),
        dict(lrc=dict(loss_weight=1.0), gr=dict(loss_weight=1.0)),
    ]
    assert scratch.heads.lrc.pop('positives') == 'phrase'
    assert tuned == scratch


def test_blends_by_hand(tmp_path):
    model = torch.nn.ModuleDict(
        {name: torch.nn.Linear(1, 1) for name in ('backbone', 'teacher')}
    )
    values = model.state_dict()
    start = {name: torch.full_like(v, 2.0) for name, v in values.items()}
    ema = {name: torch.full_like(v, 9.5) for name, v in values.items()}
    torch.save({'state_dict': start}, tmp_path / 'start.pth')
    for value in model.parameters():
        torch.nn.init.constant_(value, 12.0)
    found = {
        point: (model['backbone'].weight.item(), model['teacher'].bias.item())
        for point in running.blends(model, str(tmp_path / 'start.pth'), ema)
    }
    wanted = {'0.25': 4.5, '0.5': 7, '0.7': 9, '0.85': 10.5, '1': 12}
    for point, value in wanted.items():
        assert found.pop(point) == (pytest.approx(value), 12)
    assert found == {'ema': (9.5, 9.5)}


# --- a real comparison ---


@pytest.fixture(scope='module')
def compared(tmp_path_factory, quick_children):
    """Folder and runs of a comparison of two steps, in another world."""
    folder = tmp_path_factory.mktemp('compare')
    recipe = replace(
        RECIPE, name='tiny', world='glyphs', train=24, val=8, test=8,
        batch_size=8, pretrain_steps=2, tune_steps=2,
    )  # fmt: skip
    runs = plan.main_runs(recipe, 'siglip', 0, ['fgclip', 'harmoclip'])
    comparison = compare.Comparison(
        recipe, folder, folder / 'results.jsonl', Console()
    )
    comparison.run(runs)
    return comparison, runs


@pytest.mark.slow
def test_records_of_a_comparison(compared):
    comparison, runs = compared
    records = load_results(comparison.results)
    assert [each['method'] for each in records] == [
        'clip',
        'fgclip',
        'harmoclip',
    ]
    start, _, tuned = records
    assert (start['variant'], tuned['variant']) == ('pretraining', 'default')
    assert {each['start'] for each in records} == {'siglip'}
    assert set(start['test']) == {'0'}
    assert 0 <= start['test']['0']['crop_top1'] <= 100
    shares = ['0.25', '0.5', '0.7', '0.85', '1', 'ema']
    for split in ('val', 'test'):
        assert list(tuned[split]) == shares
        assert len(curve(records, tuned, split)) == 6
        novel = sum(start[split]['0']['mistakes'])
        for point in tuned[split].values():
            assert sum(point['mistakes']) == novel
            right = 100 * point['mistakes'][0] / novel
            assert right == pytest.approx(point['box_top1_novel'], abs=1e-3)
    folder = comparison.dir / runs[-1].name
    spec = json.loads((folder / 'run.json').read_text())
    assert Path(spec['load_from']).is_file()
    log = (folder / 'log.txt').read_text()
    assert f'Load checkpoint from {spec["load_from"]}' in log


@pytest.mark.slow
def test_finished_runs_are_not_run_again(compared):
    comparison, runs = compared
    before = comparison.results.read_text()
    comparison.run(runs)
    assert comparison.results.read_text() == before
    assert comparison.done(runs[-1])
    assert not comparison.done(replace(runs[-1], seed=1))
    assert not comparison.done(replace(runs[-1], start='clip'))


@pytest.mark.slow
def test_a_start_whose_weights_are_gone_is_made_anew(compared):
    comparison, runs = compared
    weights = comparison.weights(runs[0])
    state = load_checkpoint_file(str(weights))['state_dict']
    weights.unlink()
    before = comparison.results.read_text()
    comparison.pretrain(runs[0])
    again = load_checkpoint_file(str(weights))['state_dict']
    assert all(torch.equal(again[name], state[name]) for name in state)
    assert comparison.results.read_text() == before


@pytest.mark.slow
def test_tables_and_pictures_of_a_comparison(compared, tmp_path, monkeypatch):
    comparison, _ = compared
    records = load_results(comparison.results)
    titles = [table.title for table in all_tables(records)]
    assert len(titles) == 2
    words = ['--results', comparison.results, '--out-dir', tmp_path]
    monkeypatch.setitem(plan.RECIPES, 'tiny', comparison.recipe)
    words += ['--recipe', 'tiny', '--start', 'siglip']
    monkeypatch.setattr('sys.argv', ['plot.py', *map(str, words)])
    plot.main()
    for name in ('curves', 'differences', 'mistakes'):
        text = (tmp_path / f'compare_{name}.svg').read_text()
        assert 'HarmoCLIP' in text
