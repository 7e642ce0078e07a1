"""docs/detection.md and the README state what was measured."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'docs/results/ov_detection_shapes.json'
DETECTION = ROOT / 'docs/detection.md'
CONFIGS = ROOT / 'configs/ov_detection'


@pytest.mark.parametrize('path', [DETECTION, ROOT / 'README.md'])
@pytest.mark.parametrize('name', ['CLIP', 'HarmoCLIP'])
def test_tables_are_the_results(path, name):
    measured = json.loads(RESULTS.read_text())[name.lower()]
    text = path.read_text()
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
    measured = json.loads(RESULTS.read_text())
    harmoclip, clip = measured['harmoclip'], measured['clip']
    assert harmoclip['novel_ap50'] >= 0.6 * harmoclip['base_ap50']
    assert harmoclip['novel_ap50'] > 2 * clip['novel_ap50']


def test_every_config_and_link_of_the_page_exists():
    text = DETECTION.read_text()
    named = set(re.findall(r'fvit_[\w-]+\.py', text))
    assert named == {path.name for path in CONFIGS.glob('*_ov-*.py')}
    for target in re.findall(r'\]\(([^)#\s]+)\)', text):
        assert (DETECTION.parent / target).exists(), target
    tops = 'configs|demo|docs|tools'
    for path in re.findall(rf'\b(?:{tops})/[\w/-]+\.(?:py|sh|json)', text):
        if 'CONFIG' not in path:
            assert (ROOT / path).exists(), path
