"""Tables beside published figures, and the pages made of them."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from harmoclip_mm.benchmarking import Results, choose_protocols
from harmoclip_mm.benchmarking.report import (
    make_tables,
    pareto_points,
    read_published,
    show_results,
    write_report,
)
from harmoclip_mm.evaluation.functional import Units

NAMES = ['box-cls_fgclip_coco', 'retrieval_flickr30k', 'box-ap_ov-coco']


def row(checkpoint, protocol, limit=None, **figures):
    figures = {key.replace('__', '/'): each for key, each in figures.items()}
    return dict(
        checkpoint=checkpoint, protocol=protocol, limit=limit, amp=False,
        checkpoint_hash=checkpoint, data_hash='d', figures=figures,
        clip='tiny', device='cpu', processes=1,
        versions=dict(torch='2', open_clip='3', mmdet='3'),
    )  # fmt: skip


@pytest.fixture
def measured(tmp_path):
    """Two checkpoints: b is better at boxes in each image, and worse at
    retrieval."""
    results = Results(str(tmp_path))
    images = np.arange(50)
    for name, share in (('a', 0.5), ('b<&|', 0.8)):
        hits = images % 10 < 10 * share
        results.add(
            row(name, NAMES[0], box_cls__top1=100 * share, box_cls__top5=90),
            {'box_cls/top1': Units(images, hits)},
        )
        results.add(
            row(
                name,
                NAMES[1],
                retrieval__i2t_r1=100 - 100 * share,
                retrieval__t2i_r1=20,
            ),
            {},
        )
        results.add(row(name, NAMES[2], ov_coco__novel_ap50=share / 2), {})
    return Results(str(tmp_path))  # as read from the files


def test_published_figures_are_of_known_protocols():
    protocols = {each.name: each for each in choose_protocols('full')}
    facts = read_published()
    assert len(facts) > 50
    seen = set()
    for fact in facts:
        protocol = protocols[fact['protocol']]
        assert fact['figures'] and fact['source'] and fact['model']
        assert set(fact['figures']) <= set(protocol.figures.values())
        assert all(0 <= value <= 100 for value in fact['figures'].values())
        key = fact['protocol'], fact['source'], fact['model']
        assert key not in seen
        seen.add(key)


def test_tables(measured):
    protocols = choose_protocols(NAMES)
    boxes, retrieval, precision = make_tables(
        measured.rows, protocols, measured
    )
    a, b = boxes.lines
    assert a.cells == {'Top-1': (50, *[None] * 3), 'Top-5': (90, *[None] * 3)}
    change = b.cells['Top-1']
    assert change.change == pytest.approx(30)
    assert 15 < change.low < 30 < change.high < 45 and change.is_clear
    # nothing is kept of what the others are means of
    assert b.cells['Top-5'] == (90, 0, None, None)
    change = retrieval.lines[1].cells['I2T R@1']
    assert change.change == pytest.approx(-30) and not change.is_clear
    # a share of 1 in the file
    assert precision.lines[1].cells['novel AP50'].value == 40
    sources = {line.source for line in boxes.published}
    assert len(sources) == 2
    for source in sources:
        lines = [line for line in boxes.published if line.source == source]
        assert {'CLIP B/16', 'FG-CLIP B/16'} <= {x.name for x in lines}
    assert not precision.published


def test_a_part_of_the_data_has_nothing_published_beside(measured):
    rows = [dict(each, limit=5) for each in measured.rows]
    for table in make_tables(rows, choose_protocols(NAMES)):
        assert not table.published and table.limit == 5


@pytest.mark.parametrize(
    ('names', 'shown'),
    [
        (['a', 'a'], ['a', 'a']),
        (['x/a.pt', 'y/b.pt'], ['a.pt', 'b.pt']),
        (['x/a.pt', 'y/a.pt'], ['x/a.pt', 'y/a.pt']),
        (['x/a.pt', 'ViT 4x8/16, 64 px f0'], ['a.pt', 'ViT 4x8/16, 64 px f0']),
    ],
)
def test_a_column_for_each_checkpoint_whatever_its_name(names, shown):
    rows = [
        row(name, NAMES[0], box_cls__top1=share)
        for name, share in zip(names, (12, 34))
    ]
    console = Console(file=io.StringIO(), width=200)
    show_results(console, rows, choose_protocols(NAMES[:1]))
    lines = console.file.getvalue().splitlines()
    (head,) = (x for x in lines if 'published' in x)
    (line,) = (x for x in lines if 'Top-1' in x)
    heads, cells = (
        [cell.strip() for cell in re.split('[┃│]', each)]
        for each in (head, line)
    )
    assert cells[3:5] == ['12.00', '34.00'] and heads[3:5] == shown
    assert 'published' in heads[5]


def test_pareto(measured):
    tables = make_tables(measured.rows, choose_protocols(NAMES), measured)
    found = pareto_points(tables)
    assert found['local'].name == NAMES[0]
    points = {point['name']: point for point in found['points']}
    assert points['a'] == dict(name='a', source='', local=50, overall=35)
    b = points['b<&|']
    assert (b['local'], b['overall']) == (80, 20)
    # of one source, which has both protocols
    published = [point for point in found['points'] if point['source']]
    assert len(published) == 7
    (clip,) = [p for p in published if p['name'] == 'CLIP B/16']
    assert (clip['local'], clip['overall']) == pytest.approx((44.2, 72.15))
    assert pareto_points(tables[:1]) is None


def test_pages(measured, tmp_path):
    rows = [*measured.rows]
    rows[-1] = dict(rows[-1], skipped='no\nboxes | here')
    del rows[-1]['figures']
    write_report(str(tmp_path), rows, measured)
    page = (tmp_path / 'report.html').read_text()
    assert 'b&lt;&amp;|' in page and 'b<&' not in page
    assert 'data:image/svg+xml;base64,' in page
    assert not re.search(r'(src|href)="(?!data:|#|https://)', page)
    published = re.findall(r'<tr class="published">.*?</tr>', page, re.S)
    # 7 in the picture's numbers; 12 and 14 in the tables
    assert len(published) == 7 + 12 + 14
    assert re.search(r'class="clear">\+30\.00 \(\+\d', page)
    lines = (tmp_path / 'report.md').read_text().splitlines()
    boxes = lines.index(f'## {NAMES[0]}')
    assert lines[boxes + 4 : boxes + 7 :] == [
        '| | Top-1 | Top-5 |',
        '|---|---|---|',
        '| `a` | 50.00 | 90.00 |',
    ]
    tables = [line for line in lines if line.startswith('|')]
    for line in tables:
        assert len(re.findall(r'(?<!\\)\|', line.replace('`b<&|`', ''))) in (
            (3, 4)
        ), line
    assert sum('*CLIP B/16' in line for line in lines) == 1 + 2 + 1
