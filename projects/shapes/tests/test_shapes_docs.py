"""What the pages show is what the results say, and what they name exists."""

import json
import re

import pytest
from detect import ap50_table

from shapes.children import PROJECT, REPOSITORY
from shapes.results import load_results, select
from shapes.tables import all_tables, check_start

RESULTS = PROJECT / 'results' / 'compare.jsonl'
PAGES = {path.name: path for path in PROJECT.glob('*.md')}
PAGE = PAGES['comparison.md'].read_text()
METHOD = (REPOSITORY / 'docs' / 'method.md').read_text()
README = (REPOSITORY / 'README.md').read_text()


@pytest.fixture(scope='module')
def records():
    return load_results(RESULTS)


def test_tables_are_those_of_the_results(records):
    """Of each recipe and kind of start; the README has one of them."""
    kinds = {(each['recipe'], each['start']) for each in records}
    assert ('shapes', 'clip') in kinds
    for recipe, start in kinds:
        world = select(records, recipe=recipe, start=start)
        texts = {x.title: x.markdown() for x in all_tables(world)}
        for title, text in texts.items():
            assert text in PAGE, title
        assert check_start(world) in ' '.join(PAGE.split())
        if (recipe, start) == ('shapes', 'clip'):
            (paired,) = (x for x in texts if x.startswith('Differences'))
            assert texts[paired] in README


def test_tables_of_the_series_before():
    before = load_results(PROJECT / 'results' / 'compare_0.6.jsonl')
    for recipe in ('shapes', 'glyphs'):
        tables = all_tables(select(before, recipe=recipe))
        (paired,) = (x for x in tables if x.title.startswith('Differences'))
        assert paired.markdown() in PAGE


def test_figures_of_the_method_page():
    """Those of version 0.1, which the choices were made by."""
    path = PROJECT / 'results' / 'ablations_0.1.jsonl'
    measured = [json.loads(line) for line in path.read_text().splitlines()]
    found = re.findall(
        r'`([\w.-]+)` (\d+\.\d / \d+\.\d / \d+\.\d)',
        ' '.join(METHOD.split()),
    )
    assert len(found) > 10
    for variant, figures in found:
        (each,) = select(measured, variant=variant)
        names = ('box_top1', 'box_top1_novel', 'retrieval_mean_r1')
        expected = ' / '.join(f'{each[name]:.1f}' for name in names)
        assert figures == expected, variant


def test_no_run_stands_twice(records):
    names = ('recipe', 'start', 'method', 'variant', 'seed')
    keys = [tuple(each[name] for name in names) for each in records]
    assert len(set(keys)) == len(keys)


def test_tables_of_detection():
    lines = (PROJECT / 'results' / 'ov_detection_shapes.jsonl').read_text()
    measured = [json.loads(line) for line in lines.splitlines()]
    table = ap50_table(measured).markdown()
    assert table in PAGES['detection.md'].read_text()
    assert table in README
    for each in measured:  # what the comparison was made to see
        harmoclip, clip = each['harmoclip'], each['clip']
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
