"""The tutorials do what they say, one after the other in one folder."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / 'docs/tutorials'
# which take longer to start than the data to load
NO_WORKERS = [
    f'{split}_dataloader.{setting}'
    for split in ('train', 'val', 'test')
    for setting in ('num_workers=0', 'persistent_workers=False')
]


def blocks_of(name: str) -> list:
    """Language and content of the code blocks of a page."""
    text = (TUTORIALS / f'{name}.md').read_text()
    return re.findall(r'^```(\w+)\n(.*?)^```', text, re.MULTILINE | re.S)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A copy of what the pages use of the repository."""
    root = tmp_path_factory.mktemp('tutorials')
    shutil.copytree(ROOT / 'configs', root / 'configs')
    return root


@pytest.fixture
def shell(folder, monkeypatch, run_tool):
    """Run the lines of a block in the folder, tools in this process."""
    monkeypatch.chdir(folder)

    def run(code: str) -> None:
        for line in code.replace('\\\n', ' ').splitlines():
            command, *args = shlex.split(line)
            if command == 'export':
                monkeypatch.setenv(*args[0].split('='))
            else:
                assert command == 'python' and (ROOT / args[0]).is_file()
                if args[0] in ('tools/train.py', 'tools/test.py'):
                    args += ['--cfg-options', *NO_WORKERS]
                try:
                    run_tool(f'../{args[0]}', *args[1:])
                except SystemExit as end:
                    assert not end.code

    return run


@pytest.mark.slow
def test_train_on_my_data(folder, shell):
    data, lines, config, check, train, export = blocks_of('train_on_my_data')
    exec(compile(data[1], 'data', 'exec'), {})
    shell(lines[1])
    assert len((folder / 'data/mine/train.jsonl').read_text().split('\n')) > 64
    template = (folder / 'configs/harmoclip_vitb16_own-data.py').read_text()
    lower = template.split('\n\n', 1)[1]
    (folder / 'configs/my_data.py').write_text(f'{config[1]}\n{lower}')
    shell(check[1])
    shell(train[1])
    metrics = folder / 'work_dirs/my_data/metrics.json'
    assert json.loads(metrics.read_text())['box_cls/top1'] > 60  # chance: 25
    shell(export[1])
    assert (folder / 'work_dirs/my_data/exported').is_dir()


@pytest.mark.slow
def test_classify_my_boxes(folder, shell, capsys):
    """With the CLIP of the first tutorial and a picture of its test."""
    trained = folder / 'work_dirs/my_data/epoch_15.pth'
    shutil.copy(trained, folder / 'ViT-B-16.pt')
    shutil.copy(folder / 'data/mine/images/test_0.png', folder / 'street.jpg')
    boxes = json.loads((folder / 'data/mine/test.json').read_text())
    truth = [
        (each['bbox'], boxes['categories'][each['category_id']]['name'])
        for each in boxes['annotations'][:2]
    ]
    *python, (language, tools) = blocks_of('classify_my_boxes')
    names = {}
    for _, code in python:
        if 'boxes = [[' in code:
            given = [[x, y, x + w, y + h] for (x, y, w, h), _ in truth]
            code += f'boxes = {given}'
        exec(compile(code, 'page', 'exec'), names)
    best = [names['words'][row.index(max(row))] for row in names['scores']]
    assert best == [name for _, name in truth]
    assert (folder / 'outputs/vis/street.jpg').is_file()
    assert names['heat'].shape == (8, 8)
    assert language == 'bash'
    shell(tools)
    assert (folder / 'report.html').is_file()


@pytest.mark.slow
def test_a_detector_for_my_words(folder, shell):
    config, train, demo, python = blocks_of('a_detector_for_my_words')
    (folder / 'configs/my_detector.py').write_text(config[1])
    shell(train[1])
    shell(demo[1])
    assert (folder / 'work_dirs/my_detector/found/vis/test_0.png').is_file()
    names = {}
    exec(compile(python[1], 'page', 'exec'), names)
    # the surest box is that of a square of the picture
    truth = json.loads((folder / 'data/mine/test.json').read_text())
    found = names['found']['bboxes'][0]
    overlaps = []
    for each in truth['annotations'][:2]:
        left, top, w, h = each['bbox']
        wide = min(found[2], left + w) - max(found[0], left)
        high = min(found[3], top + h) - max(found[1], top)
        overlaps.append(max(wide, 0) * max(high, 0) / (w * h))
    assert max(overlaps) > 0.5
