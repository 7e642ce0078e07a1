"""Fixtures that several tests share."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def coco_photos() -> Path:
    """Folder of real COCO photos: ``HARMOCLIP_TEST_DATA``, or
    ``../shared/data/coco_photos`` beside the repository."""
    default = REPOSITORY.parent / 'shared' / 'data' / 'coco_photos'
    folder = Path(os.environ.get('HARMOCLIP_TEST_DATA', default))
    if not (folder / 'annotations').is_dir():
        pytest.skip(
            f'no photos at {folder}; set HARMOCLIP_TEST_DATA to a folder in '
            'COCO layout'
        )
    return folder


@pytest.fixture(scope='session')
def run_tool():
    """Run a tool in this process as its command line would, which saves the
    seconds that a fresh Python takes to import the stack."""

    def run(path: str, *args) -> None:
        name = 'tool_' + Path(path).stem
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(
                name, REPOSITORY / 'tools' / path
            )
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        argv = sys.argv
        sys.argv = [path, *map(str, args)]
        try:
            sys.modules[name].main()
        finally:
            sys.argv = argv

    return run


@pytest.fixture
def harmoclip_scope():
    """The default scope that the configs set."""
    init_default_scope('harmoclip_mm')


class TinyData:
    """Writes small data sets into a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / 'images').mkdir()

    def image(self, name: str, width: int = 64, height: int = 48) -> Path:
        """Write a picture of random colours; a number in its name seeds it."""
        seed = sum(map(ord, name))
        pixels = np.random.default_rng(seed).integers(
            0, 256, (height, width, 3), dtype=np.uint8
        )
        path = self.root / 'images' / name
        Image.fromarray(pixels).save(path)
        return path

    def jsonl(self, *lines, name: str = 'odvg.jsonl') -> str:
        """Write lines, dicts or raw strings, and give the file's name."""
        texts = [x if isinstance(x, str) else json.dumps(x) for x in lines]
        (self.root / name).write_text('\n'.join(texts) + '\n')
        return name

    @staticmethod
    def grounding(
        filename: str,
        caption: str,
        *regions: dict,
        width: int = 64,
        height: int = 48,
    ) -> dict:
        """A grounding line."""
        return {
            'filename': filename,
            'height': height,
            'width': width,
            'grounding': {'caption': caption, 'regions': list(regions)},
        }


@pytest.fixture
def tiny_data(tmp_path, harmoclip_scope) -> TinyData:
    """A folder to write small data sets into."""
    return TinyData(tmp_path)
