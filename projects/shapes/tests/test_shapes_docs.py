"""What the pages show is what the results say, and what they name exists."""

import json
import re

import pytest

from shapes import ablations, claims, tables
from shapes.children import PROJECT, REPOSITORY

RESULTS = PROJECT / 'results' / 'compare_methods.jsonl'
PAGES = {path.name: path for path in PROJECT.glob('*.md')}
PAGE = PAGES['comparison.md'].read_text()
METHOD = (REPOSITORY / 'docs' / 'method.md').read_text()
README = (REPOSITORY / 'README.md').read_text()


@pytest.fixture(scope='module')
def records():
    found = tables.load_results(RESULTS, tables.choices_file(RESULTS))
    assert found
    return found


def test_tables_are_those_of_the_results(records):
    tests, vals = (
        tables.select(records, split=each) for each in ('test', 'val')
    )
    shown = [
        tables.main_table(tests),
        tables.classifier_table(vals),
    ]
    shown += [
        tables.ablation_table(vals, title, variants)
        for title, variants in ablations.ABLATIONS.items()
    ]
    for table in filter(None, shown):
        assert table.markdown() in PAGE, table.title


def test_the_verdict_is_that_of_the_results(records):
    tests = tables.select(records, split='test')
    words = ' '.join(PAGE.split())
    for sentence in [
        tables.check_start(tests),
        *claims.judge(tests),
    ]:
        assert sentence in words, sentence


def test_the_readme_tells_the_same(records):
    tests = tables.select(records, split='test')
    pareto, *novel, recall = claims.judge(tests)
    words = ' '.join(README.split())
    for sentence in (pareto, *novel[-1:], recall):
        assert sentence in words, sentence


def test_figures_of_the_method_page(records):
    vals = tables.select(
        records, split='val', start='pretrained', method='harmoclip', seed=0
    )
    found = re.findall(
        r'`([\w.-]+)` (\d+\.\d / \d+\.\d / \d+\.\d)',
        ' '.join(METHOD.split()),
    )
    assert len(found) > 10
    for variant, figures in found:
        (each,) = tables.select(vals, variant=variant)
        names = ('box_top1', 'box_top1_novel', 'retrieval_mean_r1')
        expected = ' / '.join(f'{each[name]:.1f}' for name in names)
        assert figures == expected, variant


def test_no_run_stands_twice(records):
    keys = [
        tuple(
            each[name]
            for name in (
                'recipe', 'method', 'start', 'variant', 'seed', 'split'
            )
        )
        for each in records
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize('text', [PAGES['detection.md'].read_text(), README])
@pytest.mark.parametrize('name', ['CLIP', 'HarmoCLIP'])
def test_tables_of_detection(text, name):
    path = PROJECT / 'results' / 'ov_detection_shapes.json'
    measured = json.loads(path.read_text())[name.lower()]
    text = text[text.index('AP50') :]
    row = re.search(rf'^\| {name}\b[^|]*\|(.*)\|$', text, re.MULTILINE)[1]
    stated = [float(each) for each in row.split('|')]
    figures = [
        100 * measured[key] for key in ('base_ap50', 'novel_ap50', 'all_ap50')
    ]
    assert stated[:3] == [round(each, 1) for each in figures]
    if len(stated) > 3:
        assert stated[3] == round(figures[1] / figures[0], 2)


def test_harmoclip_finds_what_is_novel():
    """What the comparison was made to see."""
    path = PROJECT / 'results' / 'ov_detection_shapes.json'
    measured = json.loads(path.read_text())
    harmoclip, clip = measured['harmoclip'], measured['clip']
    assert harmoclip['novel_ap50'] >= 0.6 * harmoclip['base_ap50']
    assert harmoclip['novel_ap50'] > 2 * clip['novel_ap50']


@pytest.mark.parametrize('name', PAGES)
def test_files_that_are_named_exist(name):
    text = PAGES[name].read_text()
    for target in re.findall(r'\]\(([^)#\s]+)', text):
        assert (PROJECT / target).exists(), target
    for path in re.findall(r'[\w/.-]+\.(?:py|md)\b', text):
        if path == 'my_config.py':
            continue
        roots = [PROJECT / room for room in ('', 'shapes', 'configs')]
        roots += [REPOSITORY, REPOSITORY / 'docs']
        assert any((root / path).exists() for root in roots), path
