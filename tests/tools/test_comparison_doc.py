"""What docs/comparison.md shows is what the results say."""

import re
from pathlib import Path

import pytest
from compare_case import tools

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / 'docs' / 'results' / 'compare_methods.jsonl'
PAGE = (ROOT / 'docs' / 'comparison.md').read_text()
METHOD = (ROOT / 'docs' / 'method.md').read_text()
README = (ROOT / 'README.md').read_text()


@pytest.fixture(scope='module')
def records():
    found = tools.tables.load_results(
        RESULTS, tools.tables.choices_file(RESULTS)
    )
    assert found
    return found


def test_tables_are_those_of_the_results(records):
    tests, vals = (
        tools.tables.select(records, split=each) for each in ('test', 'val')
    )
    tables = [
        tools.tables.main_table(tests),
        tools.tables.classifier_table(vals),
    ]
    tables += [
        tools.tables.ablation_table(vals, title, variants)
        for title, variants in tools.ablations.ABLATIONS.items()
    ]
    for table in filter(None, tables):
        assert table.markdown() in PAGE, table.title


def test_the_verdict_is_that_of_the_results(records):
    tests = tools.tables.select(records, split='test')
    words = ' '.join(PAGE.split())
    for sentence in [
        tools.tables.check_start(tests),
        *tools.claims.judge(tests),
    ]:
        assert sentence in words, sentence


def test_the_readme_tells_the_same(records):
    tests = tools.tables.select(records, split='test')
    pareto, *novel, recall = tools.claims.judge(tests)
    words = ' '.join(README.split())
    for sentence in (pareto, *novel[-1:], recall):
        assert sentence in words, sentence


def test_figures_of_the_method_page(records):
    vals = tools.tables.select(
        records, split='val', start='pretrained', method='harmoclip', seed=0
    )
    found = re.findall(
        r'`([\w.-]+)` (\d+\.\d / \d+\.\d / \d+\.\d)',
        ' '.join(METHOD.split()),
    )
    assert len(found) > 10
    for variant, figures in found:
        (each,) = tools.tables.select(vals, variant=variant)
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
