import json
from argparse import Namespace
from types import SimpleNamespace

import pytest
from odvg_formats import NAMES
from odvg_formats.lines import Line, Tally
from odvg_formats.writing import convert, join
from to_odvg import parse_args

from harmoclip_mm.errors import DataError, UsageError

TOOL = 'dataset_converters/to_odvg.py'


@pytest.fixture
def made(tmp_path):
    """A format of one line for each file, which stops at a name; what it has
    read; and its arguments."""
    source = tmp_path / 'source'
    source.mkdir()
    for name in 'abc':
        (source / name).write_text(name)
    stop, seen = [], []

    def read(part, args, tally):
        seen.append(part.name)
        tally.where = str(part)
        line = Line(tally, part.name, 10, 10, part.read_text())
        line.add([[1, 1, 5, 5], [20, 20, 30, 30]], 'dog')
        yield line.grounding()
        if part.name in stop:
            raise KeyboardInterrupt

    module = SimpleNamespace(
        list_parts=lambda args: sorted(args.source.iterdir()), read=read
    )
    args = Namespace(
        source=source, out=tmp_path / 'o/x.jsonl', images=None, format='made'
    )
    return SimpleNamespace(module=module, args=args, stop=stop, seen=seen)


def captions(path):
    return [
        json.loads(line)['grounding']['caption']
        for line in path.read_text().splitlines()
    ]


def interrupt(made, name='b'):
    made.stop.append(name)
    with pytest.raises(KeyboardInterrupt):
        convert(made.module, made.args)
    made.stop.clear()
    made.seen.clear()


def test_goes_on_behind_the_last_whole_file(made):
    interrupt(made)
    out = made.args.out
    assert not out.exists()
    # killed while it wrote: what is not whole is written again
    part = out.with_name('x.jsonl.chunks') / '00000001.jsonl'
    part.write_text('{"filename": "b')
    tally = convert(made.module, made.args)
    assert made.seen == ['b', 'c']
    assert captions(out) == ['a', 'b', 'c']
    assert [p.name for p in out.parent.iterdir()] == ['x.jsonl']
    assert tally.written['lines'] == tally.written['images'] == 3
    assert tally.dropped['boxes outside of the image or below 1 px'] == 3
    assert list(tally.first.values()) == [str(made.args.source / 'a')]


def test_without_a_part_there_is_no_shorter_file(made):
    interrupt(made)
    out = made.args.out
    folder = out.with_name('x.jsonl.chunks')
    with pytest.raises(FileNotFoundError, match=r'00000001\.json'):
        join(folder, out, Tally(), made.args.source, 3)
    assert not out.exists() and (folder / '00000000.json').exists()


@pytest.mark.parametrize('what', ['source', 'arguments', 'beside', 'key'])
def test_begins_anew_where_something_changed(made, what, tmp_path):
    made.args.captions = tmp_path / 'captions.json'
    made.args.captions.write_text('{}')
    interrupt(made)
    out = made.args.out
    if what == 'source':
        (made.args.source / 'a').write_text('other')
    elif what == 'arguments':
        made.args.split = 'val'
    elif what == 'beside':
        made.args.captions.write_text('{"of": "others"}')
    else:
        (out.with_name('x.jsonl.chunks') / 'key').write_text('other')
    convert(made.module, made.args)
    assert made.seen == ['a', 'b', 'c']
    assert captions(out) == ['other' if what == 'source' else 'a', 'b', 'c']


def test_nothing_is_left_of_the_first_file_and_the_older_one_stays(made):
    made.args.out.parent.mkdir()
    made.args.out.write_text('older')
    interrupt(made, 'a')
    assert [p.name for p in made.args.out.parent.iterdir()] == ['x.jsonl']
    assert made.args.out.read_text() == 'older'


def test_an_empty_source(made):
    for file in made.args.source.iterdir():
        file.unlink()
    with pytest.raises(DataError, match='there is nothing in it'):
        convert(made.module, made.args)


def test_lone_surrogates_keep_their_places(made):
    (made.args.source / 'a').write_text('x')

    def read(part, args, tally):
        line = Line(tally, 'a', 9, 9, 'ab\ud800 dog')
        line.add([[1, 1, 5, 5]], 'dog')
        yield line.grounding()

    made.module.read = read
    convert(made.module, made.args)
    record = json.loads(made.args.out.read_text().splitlines()[0])
    assert record['grounding']['regions'][0]['tokens_positive'] == [[4, 7]]


@pytest.mark.parametrize('name', ['part', 'captions', 'link', 'folder'])
def test_what_is_read_and_a_folder_are_not_written_over(made, tmp_path, name):
    made.args.captions = tmp_path / 'captions'
    made.args.captions.write_text('{}')
    (tmp_path / 'link').symlink_to(made.args.captions)
    (tmp_path / 'folder').mkdir()
    made.args.out = tmp_path / name
    if name == 'part':
        made.args.out = made.args.source / 'b'
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(UsageError, match=r'is a folder|is read, too'):
        convert(made.module, made.args)
    assert sorted(tmp_path.rglob('*')) == before and not made.seen


@pytest.mark.parametrize('score', [float('nan'), 1.5, -0.1, 'high', [1]])
def test_scores_that_are_none_are_left_out(score):
    tally = Tally()
    line = Line(tally, 'a', 9, 9)
    line.add([[1, 1, 5, 5]], 'dog', score=score)
    line.add([[1, 1, 5, 5]], 'dog', score=1)
    first, second = line.grounding()['grounding']['regions']
    assert 'score' not in first and second['score'] == 1
    assert tally.dropped == {'scores that are not in 0..1': 1}


@pytest.mark.parametrize('name', NAMES)
def test_help_of_each_format(name, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_args([name, '--help'])
    assert not caught.value.code
    said = capsys.readouterr().out
    assert 'SOURCE' in said and '--out' in said


def test_the_tool_tells_what_became_of_the_source(tmp_path, run_tool, capsys):
    source = tmp_path / 'a.json'
    boxes = [[2, 2, 4, 4], [5, 5, 9, 9], [50, 5, 9, 9]]
    content = {
        'images': [{'id': 1, 'file_name': 'a', 'width': 10, 'height': 10}],
        'categories': [{'id': 1, 'name': 'dog'}],
        'annotations': [
            {'id': n, 'image_id': 1, 'category_id': 1, 'bbox': box}
            for n, box in enumerate(boxes)
        ],
    }
    source.write_text(json.dumps(content))
    out = tmp_path / 'x.jsonl'
    run_tool(TOOL, 'coco', source, '--out', out)
    words = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    assert 'boxes 3' in words and 'boxes 2' in words
    assert f'Wrote {out}' in words.replace(' ', '') or out.exists()
    assert 'More than half' not in words
