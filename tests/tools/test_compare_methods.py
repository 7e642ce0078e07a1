"""``tools/analysis_tools/compare_methods.py``: plan, resuming, tables, and a
real comparison of a few steps."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config
from rich.console import Console

from harmoclip_mm.apis import UsageError
from harmoclip_mm.registry import MODELS

REPO = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tools():
    """The modules of the tool."""
    sys.path.insert(0, str(REPO / 'tools/analysis_tools'))
    try:
        import compare_claims
        import compare_methods
        import compare_plan
        import compare_run
        import compare_tables
        import plot_comparison
    finally:
        sys.path.pop(0)

    class Modules:
        methods, plan = compare_methods, compare_plan
        run, tables = compare_run, compare_tables
        claims, plots = compare_claims, plot_comparison

    return Modules


def spec_of(tools, run, **extra):
    recipe = tools.plan.RECIPES['full']
    return {
        'config': str(REPO / tools.plan.METHODS[run.method]),
        'work_dir': 'unused',
        'options': {**recipe.model, **run.options},
        'without': list(run.variant.without),
        'transforms': list(run.variant.transforms),
        'steps': run.steps,
        'lr': run.lr,
        'warmup': recipe.warmup,
        'seed': run.seed,
        'split': 'test',
        'load_from': None,
        **extra,
    }


# --- the plan ---


def test_main_runs_are_equally_long_for_all_methods(tools):
    recipe = tools.plan.RECIPES['full']
    runs = tools.plan.main_runs(recipe, 1, list(tools.plan.METHODS))
    assert len(runs) == 10 and len({run.name for run in runs}) == 10
    for start in tools.plan.STARTS:
        of_start = [run for run in runs if run.start == start]
        assert [run.method for run in of_start] == list(tools.plan.METHODS)
        assert len({(run.steps, run.lr, run.seed) for run in of_start}) == 1


def test_ablations_run_each_variant_once(tools):
    recipe = tools.plan.RECIPES['full']
    runs = tools.plan.ablation_runs(recipe, 0)
    names = [run.variant.name for run in runs]
    assert len(names) == len(set(names)) > 15
    assert not {'gc', 'default'} & set(names)
    listed = {
        variant.name
        for variants in tools.plan.ABLATIONS.values()
        for variant in variants
    }
    assert listed == {*names, 'gc', 'default'}
    # rows of one name are one training
    for name in names:
        settings = [
            (dict(v.options), list(v.without), list(v.transforms))
            for variants in tools.plan.ABLATIONS.values()
            for v in variants
            if v.name == name and (v.options or v.without or v.transforms)
        ]
        assert all(each == settings[0] for each in settings), name


def test_variants_change_what_they_name(tools, harmoclip_scope):
    recipe = tools.plan.RECIPES['full']
    runs = {r.variant.name: r for r in tools.plan.ablation_runs(recipe, 0)}
    built = {}
    for name, run in runs.items():
        cfg = tools.run.make_config(spec_of(tools, run))
        built[name] = cfg
    plain = tools.run.make_config(
        spec_of(tools, tools.plan.main_runs(recipe, 0, ['harmoclip'])[0])
    )
    texts = [json.dumps(cfg.model) for cfg in built.values()]
    pipes = [
        json.dumps(cfg.train_dataloader.dataset.pipeline)
        for cfg in [plain, *built.values()]
    ]
    both = list(zip([json.dumps(plain.model), *texts], pipes))
    assert len(set(both)) == len(both), 'two variants are the same'
    assert set(built['lrc'].model.heads) == {'gc', 'lrc'}
    assert set(built['gr-text'].model.heads) == {'gc', 'gr'}
    assert built['gr-crop'].model.heads.gr.mode == 'crop'
    half = built['half-half'].model.heads
    assert half.lrc.loss.loss_weight == half.gr.loss.loss_weight == 0.5
    assert half.lrc.loss.type == 'LexemeRegionContrastiveLoss'
    kinds = [
        each['type']
        for each in built['mislinked-0.5'].train_dataloader.dataset.pipeline
    ]
    assert kinds.index('MislinkRegions') < kinds.index('TokenizeRegionText')
    assert kinds.index('MislinkRegions') > kinds.index('mmdet.LoadAnnotations')


@pytest.mark.parametrize('name', ['gr-crop', 'all', 'text-frozen'])
def test_variants_build(tools, harmoclip_scope, name):
    recipe = tools.plan.RECIPES['full']
    (run,) = [
        each
        for each in tools.plan.ablation_runs(recipe, 0)
        if each.variant.name == name
    ]
    model = MODELS.build(tools.run.make_config(spec_of(tools, run)).model)
    assert model.backbone.img_size == (recipe.size, recipe.size)
    assert model.text_encoder.frozen == (name == 'text-frozen')


@pytest.mark.parametrize('method', ['regionclip', 'clipself', 'fineclip'])
def test_what_is_frozen_depends_on_the_start(tools, harmoclip_scope, method):
    recipe = tools.plan.RECIPES['full']
    frozen = {}
    for run in tools.plan.main_runs(recipe, 0, [method]):
        cfg = tools.run.make_config(spec_of(tools, run))
        model = MODELS.build(cfg.model)
        frozen[run.start] = [
            name
            for name, value in model.named_parameters()
            if not (value.requires_grad or name.startswith('teacher.'))
        ]
    assert 'text_encoder.pos_embed' in frozen['pretrained']
    assert not frozen['scratch']


def test_schedule_is_warm_up_then_cosine_of_all_steps(tools):
    run = tools.plan.main_runs(tools.plan.RECIPES['full'], 0, ['clip'])[0]
    cfg = tools.run.make_config(spec_of(tools, run, steps=100, warmup=50))
    linear, cosine = cfg.param_scheduler
    assert linear['end'] == cosine['begin'] == 25  # a quarter at most
    assert cosine['end'] == 100 and cosine['T_max'] == 75
    assert cfg.train_cfg.max_iters == 100
    assert cfg.optim_wrapper.optimizer.lr == run.lr
    cfg = tools.run.make_config(spec_of(tools, run, steps=2))
    assert len(cfg.param_scheduler) == 1


def test_split_chooses_the_images_and_not_the_metrics(tools):
    run = tools.plan.main_runs(tools.plan.RECIPES['full'], 0, ['clip'])[0]
    cfgs = {
        split: tools.run.make_config(spec_of(tools, run, split=split))
        for split in ('val', 'test')
    }
    for split, cfg in cfgs.items():
        dataset = cfg.test_dataloader.dataset
        assert dataset.ann_file == f'annotations/instances_{split}.json'
        assert f'captions_{split}' in str(dataset.pipeline)
    assert cfgs['val'].test_evaluator == cfgs['test'].test_evaluator


# --- results and tables ---


def record(method, start='pretrained', variant='default', seed=0, **figures):
    return {
        'method': method, 'start': start, 'variant': variant, 'seed': seed,
        'recipe': 'full', 'split': 'test', 'images': 1000, 'steps': 300,
        'box_top1': 50.0, 'box_top1_base': 51.0, 'box_top1_novel': 40.0,
        'retrieval_i2t_r1': 44.0, 'retrieval_t2i_r1': 46.0,
        'retrieval_mean_r1': 45.0,
        'harmonic_mean': 47.4, 'crop_top1': 70.0, 'seconds_per_step': 0.25,
        'curves': {'step': [1, 2], 'loss': [3.0, 2.0], 'loss_gc': [2.0, 1.0]},
        **figures,
    }  # fmt: skip


def test_mean_and_deviation_by_hand(tools):
    # mean 12; squares 4 + 0 + 4 over 2: deviation 2
    assert tools.tables.mean_and_deviation([10, 12, 14]) == '12.0 ± 2.0'
    assert tools.tables.mean_and_deviation([7.25]) == '7.2'
    assert tools.tables.mean_and_deviation([]) == '-'


def test_main_table(tools):
    records = [
        record('clip', 'scratch', 'pretraining', steps=1500),
        record('harmoclip', seed=0, box_top1=60.0),
        record('harmoclip', seed=1, box_top1=62.0),
        record('harmoclip', variant='gr-2', box_top1=1.0),
        record('clip', 'scratch'),
    ]
    table = tools.tables.main_table(records)
    assert [row[0] for row in table.rows] == [
        'the start itself', 'HarmoCLIP, pretrained', 'CLIP, scratch',
    ]  # fmt: skip
    harmo = dict(zip(table.header, table.rows[1]))
    assert harmo['seeds'] == '2' and harmo['Box Top-1'] == '61.0 ± 1.4'
    assert '| HarmoCLIP, pretrained | 300 | 2 | 61.0 ± 1.4 |' in (
        table.markdown()
    )
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table.rich())
    assert '61.0 ± 1.4' in shown.get()


def test_ablation_table_compares_the_same_seeds(tools):
    variants = tools.plan.ABLATIONS['Losses']
    records = [
        record('clip', seed=0, box_top1=10.0),
        record('clip', seed=1, box_top1=90.0),
        record('harmoclip', seed=0, box_top1=60.0),
        record('harmoclip', seed=1, box_top1=99.0),
    ]
    assert tools.tables.ablation_table(records, 'Losses', variants) is None
    records.append(record('harmoclip', variant='lrc', box_top1=33.0))
    table = tools.tables.ablation_table(records, 'Losses', variants)
    tops = {row[0]: row[1] for row in table.rows}
    assert table.title == 'Losses (seed 0)'
    assert tops['GC'] == '10.0' and tops['GC + LRC'] == '33.0'
    assert tops['GC + LRC + GR (default)'] == '60.0'
    assert tops['GC + GR(text)'] == '-'


@pytest.mark.parametrize(
    'crop, recall, verdict',
    [(61, 31, 'a CLIP'), (59, 31, 'no CLIP'), (61, 29, 'no CLIP')],
)
def test_weak_starts_are_told(tools, crop, recall, verdict):
    start = dict(variant='pretraining', start='scratch')
    records = [
        record('clip', **start),
        record('clip', **start, crop_top1=crop, retrieval_t2i_r1=recall),
    ]
    text = tools.tables.check_start(records)
    assert f'it is {verdict}' in text and f'{crop:.1f} %' in text


def test_a_broken_line_is_named(tools, tmp_path):
    path = tmp_path / 'results.jsonl'
    path.write_text(json.dumps(record('clip')) + '\n{"method": "cl')
    with pytest.raises(UsageError, match='line 2 is no record'):
        tools.tables.load_results(path)
    assert tools.tables.load_results(tmp_path / 'absent') == []


def test_lines_are_appended_whole(tools, tmp_path):
    path = tmp_path / 'new' / 'results.jsonl'
    for seed in range(3):
        tools.methods.append_line(path, record('clip', seed=seed))
    seeds = [each['seed'] for each in tools.tables.load_results(path)]
    assert seeds == [0, 1, 2]


# --- a real comparison ---


@pytest.fixture(scope='module')
def compared(tools, tmp_path_factory):
    """Folder and recipe of a comparison of two steps."""
    folder = tmp_path_factory.mktemp('compare')
    recipe = replace(
        tools.plan.RECIPES['quick'], train=24, val=8, test=8, batch_size=8,
        pretrain_steps=2, tune_steps=2, scratch_steps=2,
    )  # fmt: skip
    run_twice(tools, recipe, folder, ['harmoclip'], ['pretrained'])
    return folder, recipe


def run_twice(tools, recipe, folder, methods, starts):
    comparison = tools.methods.Comparison(
        recipe, folder, folder / 'results.jsonl', 'val', Console()
    )
    runs = tools.plan.main_runs(recipe, 0, methods, starts)
    comparison.run([0], runs)
    return comparison, runs


@pytest.mark.slow
def test_records_of_a_comparison(tools, compared):
    folder, recipe = compared
    start, tuned = tools.tables.load_results(folder / 'results.jsonl')
    assert (start['variant'], start['method']) == ('pretraining', 'clip')
    assert (tuned['variant'], tuned['method']) == ('default', 'harmoclip')
    assert tuned['pretrain_steps'] == 2 and start['pretrain_steps'] == 0
    for each in (start, tuned):
        assert each['images'] == 8 and each['split'] == 'val'
        recall = (each['retrieval_i2t_r1'] + each['retrieval_t2i_r1']) / 2
        assert each['retrieval_mean_r1'] == pytest.approx(recall)
        assert 0 <= each['crop_top1'] <= 100
        assert each['seconds_per_step'] > 0
        assert each['curves']['step'] == [1, 2]
    assert set(tuned['curves']) >= {'loss_gc', 'loss_lrc', 'loss_gr'}
    assert 'box_top1_lexeme' in tuned and 'box_top1_lexeme' not in start
    run = tools.plan.main_runs(recipe, 0, ['harmoclip'])[0]
    cfg = json.loads((folder / 'quick' / run.name / 'run.json').read_text())
    assert Path(cfg['load_from']).is_file()
    log = (folder / 'quick' / run.name / 'log.txt').read_text()
    assert f'Load checkpoint from {cfg["load_from"]}' in log


@pytest.mark.slow
def test_finished_runs_are_not_run_again(tools, compared):
    folder, recipe = compared
    results = folder / 'results.jsonl'
    before = results.read_text()
    comparison, runs = run_twice(
        tools, recipe, folder, ['harmoclip'], ['pretrained']
    )
    assert results.read_text() == before
    assert comparison.done(runs[0])
    assert not comparison.done(replace(runs[0], seed=1))
    assert not comparison.done(replace(runs[0], steps=3))


def test_shown_tables_need_results(tools, tmp_path, monkeypatch):
    argv = ['x', '--tables', '--results', str(tmp_path / 'none.jsonl')]
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(UsageError, match='holds no run of recipe full'):
        tools.methods.main()


def test_tables_and_markdown_of_a_results_file(
    tools, tmp_path, monkeypatch, capsys
):
    results, markdown = tmp_path / 'r.jsonl', tmp_path / 't.md'
    for each in (
        record('clip', 'scratch', 'pretraining'),
        record('harmoclip'),
        record('harmoclip', recipe='quick', box_top1=1.0),
    ):
        tools.methods.append_line(results, each)
    argv = ['x', '--tables', '--results', results, '--markdown', markdown]
    monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
    tools.methods.main()
    assert 'it is a CLIP to start from' in capsys.readouterr().out.replace(
        '\n', ' '
    )
    assert '| HarmoCLIP, pretrained | 300 | 1 | 50.0 |' in markdown.read_text()


def test_configs_of_the_methods_share_their_towers(tools):
    towers = set()
    for path in tools.plan.METHODS.values():
        model = Config.fromfile(str(REPO / path)).model
        towers.add(json.dumps([model.backbone, model.text_encoder.embed_dims]))
    assert len(towers) == 1


# --- the claim ---


def test_pareto_front_by_hand(tools):
    # (1, 1) is dominated by (2, 2); equal points do not dominate each other
    points = [(1, 1), (2, 2), (3, 0), (2, 2), (2, 1), (0, 2)]
    assert tools.claims.on_front(points) == [
        False, True, True, True, False, False,
    ]  # fmt: skip


def results_of(tools, ours):
    """Two seeds of all methods; `ours` are (box, novel, recall) of ours."""
    records = []
    for seed in (0, 1):
        for method in tools.plan.METHODS:
            box, novel, recall = (50 + seed, 40 + seed, 45 + seed)
            if method == 'harmoclip':
                box, novel, recall = (v + seed for v in ours)
            records.append(
                record(
                    method, seed=seed, box_top1=box, box_top1_novel=novel,
                    retrieval_mean_r1=recall,
                )
            )  # fmt: skip
    return records


@pytest.mark.parametrize(
    'ours, front, above, kept',
    [
        ((60, 50, 45), '2 of 2', True, True),
        # a deviation of 0.71: by so much it may fall, and must rise
        ((60, 40.6, 44.4), '2 of 2', False, True),
        ((49, 41, 44), '0 of 2', True, False),
    ],
)
def test_verdicts(tools, ours, front, above, kept):
    records = results_of(tools, ours)
    pareto, *novel, recall = tools.claims.judge(records)
    assert f'on it for {front} seeds' in pareto
    assert len(novel) == 4
    for sentence in novel:
        assert ('not clearly above' not in sentence) == above, sentence
    assert ('retrieval is kept' in recall) == kept
    assert tools.claims.judge(records[:4]) == []


def test_seeds_without_all_methods_are_not_judged(tools):
    records = [*results_of(tools, (60, 50, 45)), record('harmoclip', seed=2)]
    assert tools.claims.seeds_on_front(records) == {0: True, 1: True}


def test_pictures_of_a_results_file(tools, tmp_path, monkeypatch, capsys):
    results = tmp_path / 'r.jsonl'
    start = record('clip', 'scratch', 'pretraining')
    for each in [start, *results_of(tools, (60, 50, 45))]:
        tools.methods.append_line(results, each)
    pictures = {}
    for folder in ('one', 'two'):
        out = tmp_path / folder
        argv = ['x', '--results', results, '--out-dir', out]
        argv += ['--work-dir', tmp_path / 'none']
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        tools.plots.main()
        pictures[folder] = {p.name: p.read_bytes() for p in out.iterdir()}
    assert 'No heat maps' in capsys.readouterr().out
    assert set(pictures['one']) == {'compare_pareto.svg', 'compare_losses.svg'}
    assert pictures['one'] == pictures['two']
    for content in pictures['one'].values():
        assert len(content) < 300_000 and b'HarmoCLIP' in content


def test_pictures_need_results(tools, tmp_path, monkeypatch):
    argv = ['x', '--results', str(tmp_path / 'none.jsonl')]
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(UsageError, match='holds no fine-tuning of recipe'):
        tools.plots.main()


@pytest.mark.slow
def test_heat_maps_of_kept_weights(tools, compared, tmp_path):
    folder, recipe = compared
    path = tmp_path / 'heat.png'
    quick = folder / 'quick'
    assert not tools.plots.draw_heatmaps(recipe, quick, 1, path)
    # what the fine-tuning of CLIP would leave: any weights do
    clip, harmo = (
        quick / run.name
        for run in tools.plan.main_runs(
            recipe, 0, ['clip', 'harmoclip'], ['pretrained']
        )
    )
    clip.mkdir()
    (clip / 'weights.pth').write_bytes((harmo / 'weights.pth').read_bytes())
    assert tools.plots.draw_heatmaps(recipe, quick, 1, path)
    assert 5_000 < path.stat().st_size < 300_000
