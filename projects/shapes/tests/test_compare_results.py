"""What ``compare.py`` makes of its results: tables, verdicts,
pictures."""

import json
import sys

import compare
import plot
import pytest
from rich.console import Console

from harmoclip_mm.errors import UsageError
from shapes import ablations, claims, plan, tables


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


# --- results and tables ---


def test_mean_and_deviation_by_hand():
    # mean 12; squares 4 + 0 + 4 over 2: deviation 2
    assert tables.mean_and_deviation([10, 12, 14]) == '12.0 ± 2.0'
    assert tables.mean_and_deviation([7.25]) == '7.2'
    assert tables.mean_and_deviation([]) == '-'


def test_main_table():
    records = [
        record('clip', 'scratch', 'pretraining', steps=1500),
        record('harmoclip', seed=0, box_top1=60.0),
        record('harmoclip', seed=1, box_top1=62.0),
        record('harmoclip', variant='gr-2', box_top1=1.0),
        record('clip', 'scratch'),
    ]
    table = tables.main_table(records)
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
        console.print(table.rich(200))
    assert '61.0 ± 1.4' in shown.get()
    # a plain terminal: folded at spaces, nothing cut off
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table.rich(80))
    assert '…' not in shown.get()
    words = shown.get().split()
    assert {'HarmoCLIP,', '61.0', 'step', '0.25'} <= set(words)


def test_ablation_table_compares_the_same_seeds():
    variants = ablations.ABLATIONS['Losses']
    records = [
        record('clip', seed=0, box_top1=10.0),
        record('clip', seed=1, box_top1=90.0),
        record('harmoclip', seed=0, box_top1=60.0),
        record('harmoclip', seed=1, box_top1=99.0),
    ]
    assert tables.ablation_table(records, 'Losses', variants) is None
    records.append(record('harmoclip', variant='lrc', box_top1=33.0))
    table = tables.ablation_table(records, 'Losses', variants)
    tops = {row[0]: row[1] for row in table.rows}
    assert table.title == 'Losses (seed 0)'
    assert tops['GC'] == '10.0' and tops['GC + LRC'] == '33.0'
    assert tops['GC + LRC + GR(text) (default)'] == '60.0'
    assert tops['GC + GR(text)'] == '-'


def test_classifier_table():
    modes = dict(
        box_top1_lexeme=48.0, box_top1_novel_lexeme=38.0,
        box_top1_both=54.0, box_top1_novel_both=41.0,
    )  # fmt: skip
    records = [
        record('harmoclip', **modes),
        record('harmoclip', seed=1, **{**modes, 'box_top1_both': 56.0}),
        record('harmoclip', 'scratch'),
        record('clip'),
    ]
    table = tables.classifier_table(records)
    assert [row[1:] for row in table.rows] == [
        ['50.0 ± 0.0', '40.0 ± 0.0'],
        ['48.0 ± 0.0', '38.0 ± 0.0'],
        ['55.0 ± 1.4', '41.0 ± 0.0'],
    ]
    assert tables.classifier_table(records[2:]) is None


@pytest.mark.parametrize(
    'crop, recall, verdict',
    [(61, 31, 'a CLIP'), (59, 31, 'no CLIP'), (61, 29, 'no CLIP')],
)
def test_weak_starts_are_told(crop, recall, verdict):
    start = dict(variant='pretraining', start='scratch')
    records = [
        record('clip', **start),
        record('clip', **start, crop_top1=crop, retrieval_t2i_r1=recall),
    ]
    text = tables.check_start(records)
    assert f'it is {verdict}' in text and f'{crop:.1f} %' in text


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / 'results.jsonl'
    path.write_text(json.dumps(record('clip')) + '\n{"method": "cl')
    with pytest.raises(UsageError, match='line 2 is no record'):
        tables.load_results(path)
    assert tables.load_results(tmp_path / 'absent') == []


def test_lines_are_appended_whole(tmp_path):
    path = tmp_path / 'new' / 'results.jsonl'
    for seed in range(3):
        compare.append_lines(path, [record('clip', seed=seed)])
    seeds = [each['seed'] for each in tables.load_results(path)]
    assert seeds == [0, 1, 2]


def test_shown_tables_need_results(tmp_path, monkeypatch):
    argv = ['x', '--tables', '--results', str(tmp_path / 'none.jsonl')]
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(UsageError, match='holds no run of recipe full'):
        compare.main()


def test_tables_and_markdown_of_a_results_file(tmp_path, monkeypatch, capsys):
    results, markdown = tmp_path / 'r.jsonl', tmp_path / 't.md'
    start = record('clip', 'scratch', 'pretraining')
    compare.append_lines(
        results,
        [
            record('harmoclip'),
            record('harmoclip', recipe='quick', box_top1=1.0),
        ],
    )
    modes = {
        f'{name}_{mode}': 7.0
        for name in ('box_top1', 'box_top1_novel')
        for mode in ('lexeme', 'both')
    }
    tuned_val = record('harmoclip', split='val', box_top1=1.0, **modes)
    choices = [start, tuned_val]
    compare.append_lines(tables.choices_file(results), choices)
    argv = ['x', '--tables', '--results', results, '--markdown', markdown]
    monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
    compare.main()
    assert 'it is a CLIP to start from' in capsys.readouterr().out.replace(
        '\n', ' '
    )
    assert '| HarmoCLIP, pretrained | 300 | 1 | 50.0 |' in markdown.read_text()


# --- the claim ---


def test_pareto_front_by_hand():
    # (1, 1) is dominated by (2, 2); equal points do not dominate each other
    points = [(1, 1), (2, 2), (3, 0), (2, 2), (2, 1), (0, 2)]
    assert claims.on_front(points) == [
        False, True, True, True, False, False,
    ]  # fmt: skip


def results_of(ours):
    """Two seeds of all methods; `ours` are (box, novel, recall) of ours."""
    records = []
    for seed in (0, 1):
        for method in plan.METHOD_NAMES:
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
def test_verdicts(ours, front, above, kept):
    records = results_of(ours)
    pareto, *novel, recall = claims.judge(records)
    assert f'on it for {front} seeds' in pareto
    assert len(novel) == 4
    for sentence in novel:
        assert ('not clearly above' not in sentence) == above, sentence
    assert ('retrieval is kept' in recall) == kept
    assert claims.judge(records[:4]) == []


def test_one_seed_gives_no_verdict():
    records = [each for each in results_of((60, 50, 45)) if not each['seed']]
    _, *novel, recall = claims.judge(records)
    for sentence in (*novel, recall):
        assert sentence.endswith(': one seed does not tell.'), sentence


def test_gaps_are_those_of_the_same_seed():
    ours = [
        record('harmoclip', seed=seed, box_top1_novel=value)
        for seed, value in ((2, 66.0), (0, 73.5), (5, 1.0))
    ]
    theirs = [
        record('fineclip', seed=seed, box_top1_novel=value)
        for seed, value in ((0, 64.0), (2, 70.0), (1, 9.0))
    ]
    assert claims.gaps_by_seed(ours, theirs) == [9.5, -4.0]


def test_seeds_without_all_methods_are_not_judged():
    records = [*results_of((60, 50, 45)), record('harmoclip', seed=2)]
    assert claims.seeds_on_front(records) == {0: True, 1: True}


def test_pictures_of_a_results_file(tmp_path, monkeypatch, capsys):
    results = tmp_path / 'r.jsonl'
    start = record('clip', 'scratch', 'pretraining')
    records = [start, *results_of((60, 50, 45))]
    compare.append_lines(results, records)
    pictures = {}
    for folder in ('one', 'two'):
        out = tmp_path / folder
        argv = ['x', '--results', results, '--out-dir', out]
        argv += ['--work-dir', tmp_path / 'none']
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        plot.main()
        pictures[folder] = {p.name: p.read_bytes() for p in out.iterdir()}
    assert 'No heat maps' in capsys.readouterr().out
    assert set(pictures['one']) == {'compare_pareto.svg', 'compare_losses.svg'}
    assert pictures['one'] == pictures['two']
    for content in pictures['one'].values():
        assert len(content) < 300_000 and b'HarmoCLIP' in content


def test_pictures_need_results(tmp_path, monkeypatch):
    argv = ['x', '--results', str(tmp_path / 'none.jsonl')]
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(UsageError, match='holds no fine-tuning of recipe'):
        plot.main()
