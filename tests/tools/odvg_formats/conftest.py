import json
from collections import Counter

import pytest
from odvg_formats import writing
from PIL import Image
from to_odvg import parse_args

from harmoclip_mm.datasets.odvg import parse_odvg_line


@pytest.fixture
def convert(tmp_path):
    """Convert as the command line does; the lines as they are in the file,
    each of which the data set reads, and the tally."""

    def run(name, source, *words):
        out = tmp_path / 'out' / 'lines.jsonl'
        words = [name, source, '--out', out, *words]
        args = parse_args([str(word) for word in words])
        module = vars(args).pop('module')
        tally = writing.convert(module, args)
        assert [path.name for path in out.parent.iterdir()] == [out.name]
        lines = out.read_bytes().splitlines()
        for line in lines:
            seen = Counter()
            parse_odvg_line(line, 'line', seen)
            assert not +seen, 'boxes are in their image already'
        return [json.loads(line) for line in lines], tally

    return run


@pytest.fixture
def image(tmp_path):
    """Write an image of a size below tmp_path."""

    def write(name, width, height, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (width, height)).save(path, **options)
        return path

    return write
