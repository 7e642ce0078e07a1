"""What ``compare.py`` makes of its results."""

import json

import numpy as np
import pytest

from harmoclip_mm.errors import UsageError
from shapes import ablations, plan, tables
from shapes.curves import LEVELS, area, best_at, on_or_above
from shapes.mistakes import count_mistakes
from shapes.paired import compare
from shapes.results import append_record, by_seed, curve, load_results

# Start, then R@1 falls by 2 and rises by 1, novel boxes rise.
CURVE = [(40.0, 10.0), (38.0, 20.0), (41.0, 35.0), (36.0, 50.0)]


def test_best_at_by_hand():
    levels = [35.0, 36.0, 38.5, 40.0, 41.0, 41.5]
    # 38.5 halves the last leg, 41 -> 36 and 35 -> 50; 40 is a fifth of it
    wanted = [50.0, 50.0, 42.5, 38.0, 35.0, -np.inf]
    assert best_at(CURVE, levels).tolist() == pytest.approx(wanted)


def test_area_by_hand():
    # To 36, 4 below the start, the gain is 40; from there it falls to 25 at
    # 41, 1 above; beyond it is 0.
    levels = np.linspace(-5, 5, len(LEVELS))
    gains = np.where(levels <= -4, 40, 40 - 3 * (levels + 4))
    gains[levels > 1 + 1e-9] = 0
    assert area(CURVE) == pytest.approx(gains.mean())
    assert area(CURVE[:1]) == 0
    worse = [(40.0, 10.0), (45.0, 5.0)]
    assert area(worse) == 0


def test_on_or_above():
    assert on_or_above(CURVE, CURVE)
    assert on_or_above(CURVE, CURVE[:2])
    assert not on_or_above(CURVE[:2], CURVE)
    # above at all points but nowhere as good in R@1
    assert not on_or_above(CURVE, [(40.0, 10.0), (41.5, 11.0)])
    # between the other's points
    straight = [(40.0, 10.0), (30.0, 60.0)]
    bent = [(40.0, 10.0), (35.0, 30.0), (30.0, 60.0)]
    assert on_or_above(straight, bent) and not on_or_above(bent, straight)


def test_paired_differences():
    ours, theirs = [3.0, 5.0, 4.0, 9.0, 3.0], [1.0, 2.0, 5.0, 1.0, 0.0]
    found = compare(ours, theirs)
    assert found.values == (2.0, 3.0, -1.0, 8.0, 3.0)
    assert (found.mean, found.wins) == (3.0, 4)
    # 3125 equally likely resamples of five: their percentiles
    draws = np.array(np.meshgrid(*[found.values] * 5)).reshape(5, -1)
    low, high = np.percentile(draws.mean(axis=0), [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.26)
    assert found.high == pytest.approx(high, abs=0.26)
    assert str(found) == f'+3.0 [{found.low:+.1f}, {found.high:+.1f}]'
    few = compare([2.0, 1.0], [1.0, 1.0])
    assert str(few) == '+0.5 (+1.0, +0.0)' and np.isnan(few.low)


def test_mistakes_by_kind():
    class Labels:
        def __init__(self, labels):
            self.labels = np.array(labels)

    class Sample:
        def __init__(self, truth, said):
            self.gt_instances, self.pred_instances = (
                Labels(truth),
                Labels(said),
            )

    metainfo = dict(
        classes=['red E', 'red K', 'blue E', 'blue K'],
        novel_classes=['red E', 'blue K'],
    )
    samples = [Sample([0, 0, 0, 1], [0, 1, 2, 0]), Sample([3, 0], [0, 3])]
    assert count_mistakes(samples, metainfo).tolist() == [1, 1, 1, 2]


# --- records ---


def point(novel, recall):
    return dict(
        box_top1=novel + 10, box_top1_base=novel + 20, box_top1_novel=novel,
        retrieval_i2t_r1=recall + 1, retrieval_t2i_r1=recall - 1,
        mistakes=[int(novel), 0, 0, 100 - int(novel)], crop_top1=70.0,
    )  # fmt: skip


def record(method, seed, novel, recall=40.0, variant='default'):
    points = {
        f'{share:g}': point(novel * share, recall) for share in plan.SHARES[1:]
    }
    points['ema'] = point(novel, recall)
    if variant == 'pretraining':
        points = {'0': point(0, recall)}
    return dict(
        recipe='shapes', start='clip', method=method, variant=variant,
        seed=seed, seconds_per_step=0.5 + seed, val=points, test=points,
    )  # fmt: skip


@pytest.fixture
def records():
    rows = []
    for seed, novel in enumerate((50, 60, 70)):
        rows.append(record('clip', seed, 0, variant='pretraining'))
        rows.append(record('harmoclip', seed, novel))
        rows.append(record('fineclip', seed, novel - 10, 41.0))
    return rows


def test_curves_begin_at_the_start(records):
    found = curve(records, records[1], 'test')
    assert found == [(40, 50 * share) for share in plan.SHARES]
    assert by_seed(records, 'fineclip').keys() == {0, 1, 2}


def test_tables(records):
    main = tables.main_table(records)
    rows = {row[0]: row for row in main.rows}
    assert list(rows) == [
        'the start itself', 'FineCLIP', 'FineCLIP, averaged weights',
        'HarmoCLIP', 'HarmoCLIP, averaged weights',
    ]  # fmt: skip
    novel = main.header.index('novel')
    assert rows['HarmoCLIP'][novel] == '60.0 ± 10.0'
    assert rows['HarmoCLIP'][-1] == '0.50'  # the fastest
    (pair,) = tables.paired_table(records).rows
    assert pair[:7] == [
        'FineCLIP', '+10.0 (+10.0, +10.0, +10.0)', '3 of 3',
        '+10.0 (+10.0, +10.0, +10.0)', '3 of 3',
        '-1.0 (-1.0, -1.0, -1.0)', '0 of 3',
    ]  # fmt: skip
    assert pair[-1] == '0 of 3'  # FineCLIP keeps more R@1
    assert 'a CLIP' in tables.check_start(records)
    assert tables.paired_table(records[:1]) is None


def test_tables_of_variants_compare_row_by_row(records):
    title, variants = next(iter(ablations.PAIRS.items()))
    assert tables.ablation_table(records, title, variants) is None
    ideas = 'Ideas to make novel boxes better'
    more = [
        *records,
        record('harmoclip', 1, 61, 39.0, 'text-lr-0.1'),
        record('harmoclip', 1, 66, 38.0, 'hard'),
    ]
    rows = tables.ablation_table(more, ideas, ablations.IDEAS[ideas]).rows
    assert [row[1] for row in rows] == ['3', '1', '1']
    assert rows[1][4:] == ['+1.0 (+1.0)', '1 of 1', '-1.0 (-1.0)']
    assert rows[2][4:] == ['+6.0 (+6.0)', '1 of 1', '-2.0 (-2.0)']
    for seed, novel in enumerate((48, 59, 71)):
        records.append(record('harmoclip', seed, novel, 38.0, 'gr-1.5'))
    table = tables.ablation_table(records, title, variants)
    assert len(table.rows) == 2 and table.title.endswith('(test)')
    assert table.rows[0][1] == '3' and table.rows[0][4:] == ['', '', '']
    novel, wins, change = table.rows[1][4:]
    assert novel.startswith('+0.7') and wins == '2 of 3'
    assert change == '+2.0 (+2.0, +2.0, +2.0)'
    records.pop()  # a start that only one of the two has does not count
    table = tables.ablation_table(records, title, variants)
    assert [row[1] for row in table.rows] == ['2', '2']
    text = table.markdown()
    assert text.count('\n') == 6


def test_results_file(tmp_path, records):
    path = tmp_path / 'new/results.jsonl'
    assert load_results(path) == []
    for each in records[:2]:
        append_record(path, each)
    assert load_results(path) == json.loads(json.dumps(records[:2]))
    path.write_text(path.read_text() + '{"method": "clip"}\n')
    with pytest.raises(UsageError, match='line 3 is no record'):
        load_results(path)
