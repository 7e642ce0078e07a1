"""What docs/detection.md names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DETECTION = ROOT / 'docs/detection.md'
CONFIGS = ROOT / 'configs/ov_detection'


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
