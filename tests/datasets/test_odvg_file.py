"""Lines that are read when asked for, below ``RegionPhraseDataset``."""

import pickle

import pytest
from mmengine.fileio import BaseStorageBackend, LocalBackend, register_backend

from harmoclip_mm.datasets import RegionPhraseDataset, odvg

DOG = {'bbox': [4, 4, 30, 30], 'phrase': 'dog', 'tokens_positive': [[2, 5]]}


@pytest.fixture
def build(tiny_data):
    def _build(*lines, **kwargs):
        if lines:
            kwargs['ann_file'] = tiny_data.jsonl(*lines)
        return RegionPhraseDataset(
            data_root=str(tiny_data.root),
            data_prefix={'img': 'images'},
            **kwargs,
        )

    return _build


def test_lines_are_parsed_when_asked_for(build, tiny_data, monkeypatch):
    """Opening a file that has an index parses no line, a sample only its own
    ones."""
    lines = [
        tiny_data.grounding(f'{i // 2}.png', f'Text {i}.', DOG)
        for i in range(2000)
    ]
    build(*lines)
    parse = odvg.parse_odvg_line
    parsed = []

    def count(line, where, tally):
        parsed.append(int(where.rsplit(':', 1)[1]))
        return parse(line, where, tally)

    monkeypatch.setattr(odvg, 'parse_odvg_line', count)
    dataset = build(ann_file='odvg.jsonl', filter_cfg={'min_size': 2})
    assert len(dataset) == 1000 and parsed == []
    assert not dataset.data_list.dtype.hasobject
    info = dataset.get_data_info(-1)
    assert info['sample_idx'] == 999 and info['img_id'] == 999
    assert info['text'] in ('Text 1998.', 'Text 1999.')
    assert len(parsed) == 1 and parsed[0] in (1999, 2000)
    all_lines = build(ann_file='odvg.jsonl', caption_choice='all')
    assert [all_lines.get_data_info(i)['text'] for i in (3, 1500)] == [
        'Text 3.',
        'Text 1500.',
    ]


def test_subsets(build, tiny_data):
    lines = [
        tiny_data.grounding(f'{i // 2}.png', f'Text {i}.') for i in range(10)
    ]

    def names(dataset):
        return [
            dataset.get_data_info(i)['img_path'].rsplit('/', 1)[1][0]
            for i in range(len(dataset))
        ]

    dataset = build(*lines)
    assert names(dataset) == list('01234')
    for indices, expected in (
        (2, '01'),
        (-2, '34'),
        ([4, 0, -1, 0], '4040'),
        ([], ''),
    ):
        kwargs = {'ann_file': 'odvg.jsonl', 'indices': indices}
        subset = build(**kwargs)
        assert names(subset) == list(expected)
        assert names(dataset.get_subset(indices)) == list(expected)
        # Both lines of an image came along.
        if expected:
            found = {subset.get_data_info(0)['text'] for _ in range(30)}
            assert len(found) == 2
    dataset.get_subset_([1, 3])
    assert names(dataset) == ['1', '3']
    with pytest.raises(IndexError):
        dataset.get_subset_([2])
    with pytest.raises(IndexError):
        dataset.get_data_info(2)


def test_it_opens_when_it_is_first_needed(build, tiny_data):
    name = tiny_data.jsonl(tiny_data.grounding('a.png', 'A dog.', DOG))
    dataset = build(ann_file=name, lazy_init=True)
    assert not (tiny_data.root / f'{name}.index').exists()
    assert len(dataset) == 1
    assert dataset.get_data_info(0)['text'] == 'A dog.'


def test_a_line_speaks_for_itself_and_is_parsed_once(
    build, tiny_data, monkeypatch
):
    """Lines of one image that disagree are no exception."""
    first = tiny_data.grounding('a.png', 'A dog.', DOG)
    second = tiny_data.grounding('a.png', 'My dog.', DOG, width=32)
    second['image_id'] = 7
    dataset = build(first, second, caption_choice='all')
    dataset.full_init()
    parsed = []
    parse = odvg.parse_odvg_line
    monkeypatch.setattr(
        odvg,
        'parse_odvg_line',
        lambda *args: parsed.append(args) or parse(*args),
    )
    infos = [dataset.get_data_info(i) for i in (0, 1)]
    found = [(each['text'], each['width'], each['img_id']) for each in infos]
    assert found == [('A dog.', 64, 0), ('My dog.', 32, 7)]
    assert len(parsed) == 2


def test_a_file_that_is_replaced_in_use_is_read_as_it_was(build, tiny_data):
    """As a converter does that is run again during a training."""
    dataset = build(tiny_data.grounding('a.png', 'A dog.', DOG))
    before = dataset.get_data_info(0)
    path = tiny_data.root / 'odvg.jsonl'
    path.rename(tiny_data.root / 'older.jsonl')
    tiny_data.jsonl(tiny_data.grounding('a.png', 'A cat is no dog.'))
    assert dataset.get_data_info(0) == before


def test_a_file_that_is_replaced_while_it_is_indexed(
    build, tiny_data, monkeypatch
):
    """Its index would point into the other one."""
    parse, path = odvg.parse_odvg_line, tiny_data.root / 'odvg.jsonl'

    def replace(*args):
        path.rename(tiny_data.root / 'older.jsonl')
        tiny_data.jsonl(tiny_data.grounding('b.png', 'A cat is no dog.'))
        return parse(*args)

    monkeypatch.setattr(odvg, 'parse_odvg_line', replace)
    with pytest.raises(RuntimeError, match=r'odvg\.jsonl was changed'):
        build(tiny_data.grounding('a.png', 'A dog.', DOG))
    monkeypatch.undo()
    assert build(ann_file='odvg.jsonl').get_data_info(0)['text'][2:5] == 'cat'


def test_a_copy_of_a_dataset_refuses_a_changed_file(build, tiny_data):
    dataset = build(tiny_data.grounding('a.png', 'A dog.', DOG))
    content = pickle.dumps(dataset)
    assert len(content) < 20_000
    copy = pickle.loads(content)
    assert copy.get_data_info(0) == dataset.get_data_info(0)
    tiny_data.jsonl(tiny_data.grounding('a.png', 'A cat.'))
    with pytest.raises(RuntimeError, match=r'odvg\.jsonl was changed'):
        pickle.loads(content)


def test_other_file_backends_are_read_whole(build, tiny_data):
    """As fetched from a store: nothing is written beside the file."""

    class Store(BaseStorageBackend):
        def get(self, filepath):
            return LocalBackend().get(filepath)

        def get_text(self, filepath):
            return LocalBackend().get_text(filepath)

        def exists(self, filepath):
            return LocalBackend().exists(filepath)

    register_backend('test_store', Store, force=True)
    lines = [
        tiny_data.grounding('a.png', 'A dog.', DOG),
        tiny_data.grounding('b.png', 'B.'),
    ]
    dataset = build(*lines, backend_args={'backend': 'test_store'})
    assert not (tiny_data.root / 'odvg.jsonl.index').exists()
    local = build(ann_file='odvg.jsonl')
    for index in range(2):
        assert dataset.get_data_info(index) == local.get_data_info(index)
    assert len(pickle.loads(pickle.dumps(dataset))) == 2
