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

from harmoclip_mm.registry import MODELS
from shapes import ablations, plan, tables
from shapes import run as running


def spec_of(run, **extra):
    recipe = plan.RECIPES['full']
    return {
        'config': str(run.config),
        'work_dir': 'unused',
        'options': {**recipe.model, **run.options},
        'without': list(run.variant.without),
        'transforms': list(run.variant.transforms),
        'steps': run.steps,
        'lr': run.lr,
        'warmup': recipe.warmup,
        'seed': run.seed,
        'load_from': None,
        **extra,
    }


# --- the plan ---


def test_main_runs_are_equally_long_for_all_methods():
    recipe = plan.RECIPES['full']
    runs = plan.main_runs(recipe, 1, list(plan.METHOD_NAMES))
    assert len(runs) == 10 and len({run.name for run in runs}) == 10
    for start in plan.STARTS:
        of_start = [run for run in runs if run.start == start]
        assert [run.method for run in of_start] == list(plan.METHOD_NAMES)
        assert len({(run.steps, run.lr, run.seed) for run in of_start}) == 1


def test_ablations_run_each_variant_once():
    recipe = plan.RECIPES['full']
    runs = ablations.ablation_runs(recipe, 0)
    names = [run.variant.name for run in runs]
    assert len(names) == len(set(names)) > 15
    assert not {'gc', 'default'} & set(names)
    listed = {
        variant.name
        for variants in ablations.ABLATIONS.values()
        for variant in variants
    }
    assert listed == {*names, 'gc', 'default'}
    # rows of one name are one training
    for name in names:
        settings = [
            (dict(v.options), list(v.without), list(v.transforms))
            for variants in ablations.ABLATIONS.values()
            for v in variants
            if v.name == name and (v.options or v.without or v.transforms)
        ]
        assert all(each == settings[0] for each in settings), name


def test_the_losses_are_ablated_from_every_start():
    recipe = plan.RECIPES['full']
    runs = ablations.ablation_runs(recipe, 2)
    assert [run.variant.name for run in runs] == ['lrc', 'gr', 'both']
    assert {run.seed for run in runs} == {2}


def test_variants_change_what_they_name(harmoclip_scope):
    recipe = plan.RECIPES['full']
    runs = {r.variant.name: r for r in ablations.ablation_runs(recipe, 0)}
    built = {}
    for name, run in runs.items():
        cfg = running.make_config(spec_of(run))
        built[name] = cfg
    plain = running.make_config(
        spec_of(plan.main_runs(recipe, 0, ['harmoclip'])[0])
    )
    texts = [json.dumps(cfg.model) for cfg in built.values()]
    pipes = [
        json.dumps(cfg.train_dataloader.dataset.pipeline)
        for cfg in [plain, *built.values()]
    ]
    both = list(zip([json.dumps(plain.model), *texts], pipes))
    assert len(set(both)) == len(both), 'two variants are the same'
    assert set(built['lrc'].model.heads) == {'gc', 'lrc'}
    assert set(built['gr'].model.heads) == {'gc', 'gr'}
    assert built['gr-crop'].model.heads.gr.mode == 'crop'
    assert built['both'].model.heads.gr.mode == 'both'
    assert plain.model.heads.gr.mode == 'text'
    doubled = built['gr-weight-2'].model.heads
    assert doubled.gr.loss.loss_weight == 2
    # the row that says "default" in a table of weights
    heads = plain.model.heads
    assert heads.lrc.loss.loss_weight == ablations.LRC_WEIGHT
    assert heads.gr.loss.loss_weight == ablations.GR_WEIGHT
    kinds = [
        each['type']
        for each in built['mislinked-0.5'].train_dataloader.dataset.pipeline
    ]
    assert kinds.index('MislinkRegions') < kinds.index('TokenizeRegionText')
    assert kinds.index('MislinkRegions') > kinds.index('mmdet.LoadAnnotations')


@pytest.mark.parametrize('name', ['gr-crop', 'both-teacher', 'text-frozen'])
def test_variants_build(harmoclip_scope, name):
    recipe = plan.RECIPES['full']
    (run,) = [
        each
        for each in ablations.ablation_runs(recipe, 0)
        if each.variant.name == name
    ]
    model = MODELS.build(running.make_config(spec_of(run)).model)
    assert model.backbone.img_size == (recipe.size, recipe.size)
    assert model.text_encoder.frozen == (name == 'text-frozen')


@pytest.mark.parametrize('method', ['regionclip', 'clipself', 'fineclip'])
def test_what_is_frozen_depends_on_the_start(harmoclip_scope, method):
    recipe = plan.RECIPES['full']
    frozen = {}
    for run in plan.main_runs(recipe, 0, [method]):
        cfg = running.make_config(spec_of(run))
        model = MODELS.build(cfg.model)
        frozen[run.start] = [
            name
            for name, value in model.named_parameters()
            if not (value.requires_grad or name.startswith('teacher.'))
        ]
    assert 'text_encoder.text.positional_embedding' in frozen['pretrained']
    assert not frozen['scratch']


def test_only_the_fine_tuning_of_clipself_is_blended():
    blended = {
        (run.method, run.start): run.blend
        for run in plan.main_runs(
            plan.RECIPES['full'], 0, list(plan.METHOD_NAMES)
        )
        if run.blend is not None
    }
    assert blended == {('clipself', 'pretrained'): 0.7}


def test_blend_by_hand(tmp_path):
    model = torch.nn.ModuleDict(
        {name: torch.nn.Linear(1, 1) for name in ('backbone', 'teacher')}
    )
    start = {
        name: torch.full_like(v, 2.0) for name, v in model.state_dict().items()
    }
    torch.save({'state_dict': start}, tmp_path / 'start.pth')
    for value in model.parameters():
        torch.nn.init.constant_(value, 12.0)
    running.blend_with_start(model, str(tmp_path / 'start.pth'), 0.7)
    assert model['backbone'].weight.item() == pytest.approx(9.0)
    assert model['teacher'].weight.item() == 12.0


def test_schedule_is_warm_up_then_cosine_of_all_steps():
    run = plan.main_runs(plan.RECIPES['full'], 0, ['clip'])[0]
    cfg = running.make_config(spec_of(run, steps=100, warmup=50))
    linear, cosine = cfg.param_scheduler
    assert linear['end'] == cosine['begin'] == 25  # a quarter at most
    assert cosine['end'] == 100 and cosine['T_max'] == 75
    assert cfg.train_cfg.max_iters == 100
    assert cfg.optim_wrapper.optimizer.lr == run.lr
    cfg = running.make_config(spec_of(run, steps=2))
    assert len(cfg.param_scheduler) == 1


def test_both_splits_get_the_same_metrics():
    run = plan.main_runs(plan.RECIPES['full'], 0, ['clip'])[0]
    cfg = running.make_config(spec_of(run))
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


def test_fine_tuning_halves_lrc_and_nothing_else():
    models = {}
    for start in plan.STARTS:
        (run,) = plan.main_runs(
            plan.RECIPES['quick'], 0, ['harmoclip'], [start]
        )
        models[start] = Config.fromfile(str(run.config)).model
    tuned, scratch = models['pretrained'], models['scratch']
    assert scratch.heads.lrc.loss.loss_weight == 1.0
    scratch.heads.lrc.loss.loss_weight = 0.5
    assert tuned == scratch


# --- a real comparison ---


@pytest.fixture(scope='module')
def compared(tmp_path_factory):
    """Folder and recipe of a comparison of two steps."""
    folder = tmp_path_factory.mktemp('compare')
    recipe = replace(
        plan.RECIPES['quick'], train=24, val=8, test=8, batch_size=8,
        pretrain_steps=2, tune_steps=2, scratch_steps=2,
    )  # fmt: skip
    run_twice(recipe, folder, ['harmoclip'], ['pretrained'])
    return folder, recipe


def run_twice(recipe, folder, methods, starts):
    comparison = compare.Comparison(
        recipe, folder, folder / 'results.jsonl', Console()
    )
    runs = plan.main_runs(recipe, 0, methods, starts)
    comparison.run(runs)
    return comparison, runs


@pytest.mark.slow
def test_records_of_a_comparison(compared):
    folder, recipe = compared
    results = folder / 'results.jsonl'
    (tuned,) = tables.load_results(results)
    choices = tables.choices_file(results)
    start_val, start, tuned_val = tables.load_results(choices)
    assert [start['split'], tuned['split']] == ['test', 'test']
    assert [start_val['split'], tuned_val['split']] == ['val', 'val']
    assert (start['variant'], start['method']) == ('pretraining', 'clip')
    assert (tuned['variant'], tuned['method']) == ('default', 'harmoclip')
    assert tuned['pretrain_steps'] == 2 and start['pretrain_steps'] == 0
    for each in (start, tuned, start_val, tuned_val):
        assert each['images'] == 8
        recall = (each['retrieval_i2t_r1'] + each['retrieval_t2i_r1']) / 2
        assert each['retrieval_mean_r1'] == pytest.approx(recall)
        assert 0 <= each['crop_top1'] <= 100
        assert each['seconds_per_step'] > 0
    for each in (start, tuned):
        assert each['curves']['step'] == [1, 2]
    assert set(tuned['curves']) >= {'loss_gc', 'loss_lrc', 'loss_gr'}
    assert 'box_top1_lexeme' in tuned and 'box_top1_lexeme' not in start
    run = plan.main_runs(recipe, 0, ['harmoclip'])[0]
    cfg = json.loads((folder / 'quick' / run.name / 'run.json').read_text())
    assert Path(cfg['load_from']).is_file()
    log = (folder / 'quick' / run.name / 'log.txt').read_text()
    assert f'Load checkpoint from {cfg["load_from"]}' in log


@pytest.mark.slow
def test_the_blend_has_records_of_its_own(compared):
    folder, recipe = compared
    results = folder / 'clipself.jsonl'
    comparison = compare.Comparison(recipe, folder, results, Console())
    runs = plan.main_runs(recipe, 0, ['clipself'], ['pretrained'])
    # the start is there, its records are in the other file
    compare.append_lines(
        tables.choices_file(results),
        tables.load_results(tables.choices_file(folder / 'results.jsonl'))[:2],
    )
    comparison.run(runs)
    found = tables.load_results(results)
    assert [each['variant'] for each in found] == ['default', 'blended']
    assert found[0]['curves'] == found[1]['curves']
    lines = results.read_text()
    comparison.run(runs)
    assert results.read_text() == lines
    # a result of before there was a blend is not the whole run
    results.write_text(lines.splitlines(keepends=True)[0])
    assert not comparison.done(runs[0])


@pytest.mark.slow
def test_finished_runs_are_not_run_again(compared):
    folder, recipe = compared
    results = folder / 'results.jsonl'
    before = results.read_text()
    comparison, runs = run_twice(recipe, folder, ['harmoclip'], ['pretrained'])
    assert results.read_text() == before
    assert comparison.done(runs[0])
    assert not comparison.done(replace(runs[0], seed=1))
    assert not comparison.done(replace(runs[0], steps=3))


@pytest.mark.slow
def test_heat_maps_of_kept_weights(compared, tmp_path):
    folder, recipe = compared
    path = tmp_path / 'heat.png'
    quick = folder / 'quick'
    assert not plot.draw_heatmaps(recipe, quick, 1, path)
    # what the fine-tuning of CLIP would leave: any weights do
    clip, harmo = (
        quick / run.name
        for run in plan.main_runs(
            recipe, 0, ['clip', 'harmoclip'], ['pretrained']
        )
    )
    clip.mkdir()
    (clip / 'weights.pth').write_bytes((harmo / 'weights.pth').read_bytes())
    assert plot.draw_heatmaps(recipe, quick, 1, path)
    assert 5_000 < path.stat().st_size < 300_000
