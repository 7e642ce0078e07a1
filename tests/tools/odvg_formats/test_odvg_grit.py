import io
import json
import tarfile

import pytest

from harmoclip_mm.errors import DataError, UsageError

CAPTION = ' A red car beside a dog.'  # one space before it
SAMPLE = {
    'caption': CAPTION,
    'width': 200,
    'height': 100,
    'status': 'success',
    'noun_chunks': [[1, 10, 0.1, 0.2, 0.5, 0.6, 0.9]],
    'ref_exps': [
        [1.0, 23.0, 0.1, 0.2, 0.5, 0.6, 0.98765],
        [18.0, 23.0, 0.9, 0.9, 1.01, 1.0, 0.7],  # reaches out
        [18.0, 23.0, 0.0, 0.0, 0.25, 0.5, 0.6],  # a second box
        [40.0, 50.0, 0.0, 0.0, 0.25, 0.5, 0.6],
        [1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 0.6],  # in px
        [1.0, 10.0, 0.5, 0.5, 0.4, 0.4, 0.6],  # corners swapped
    ],
}
REGIONS = [
    ([20.0, 20.0, 100.0, 60.0], 'A red car beside a dog', [0, 22], 0.9877),
    ([180.0, 90.0, 200, 100.0], 'a dog', [17, 22], 0.7),
    ([0.0, 0.0, 50.0, 50.0], 'a dog', [17, 22], 0.6),
]
DROPPED = {
    'regions whose span is not in the caption': 1,
    'boxes beyond 0..1, as if in px': 1,
    'boxes outside of the image or below 1 px': 1,
}


def line(name, regions=REGIONS):
    return {
        'filename': name,
        'height': 100,
        'width': 200,
        'grounding': {
            'caption': CAPTION.strip(),
            'regions': [
                {
                    'bbox': bbox,
                    'phrase': phrase,
                    'tokens_positive': [span],
                    'score': score,
                }
                for bbox, phrase, span, score in regions
            ],
        },
    }


def write_tar(path, *samples):
    """A shard as img2dataset writes it, by webdataset's naming."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w') as tar:
        for key, sample in samples:
            files = {'json': json.dumps(sample), 'txt': CAPTION}
            if sample.get('status') == 'success':
                files = {'jpg': 'x' * 700, **files}
            for suffix, text in files.items():
                info = tarfile.TarInfo(f'{key}.{suffix}')
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_tars(convert, tmp_path):
    failed = {**SAMPLE, 'status': 'failed_to_download', 'width': None}
    write_tar(
        tmp_path / 'grit/00000.tar',
        ('000000000', SAMPLE),
        ('000000001', failed),
    )
    # what img2dataset was told to keep may come as text
    text = {**SAMPLE, 'ref_exps': json.dumps(SAMPLE['ref_exps'])}
    write_tar(tmp_path / 'grit/00001.tar', ('000010000', text))
    (tmp_path / 'grit/00001.parquet').write_text('beside each tar')
    lines, tally = convert('grit', tmp_path / 'grit')
    assert lines == [
        line('00000/000000000.jpg'),
        line('00001/000010000.jpg'),
    ]
    assert tally.dropped == {
        **{why: 2 * number for why, number in DROPPED.items()},
        'images that failed': 1,
    }


def test_noun_chunks(convert, tmp_path):
    path = write_tar(tmp_path / '00000.tar', ('1', SAMPLE))
    lines, _ = convert('grit', path, '--chunks', 'noun_chunks')
    regions = [([20, 20, 100, 60], 'A red car', [0, 9], 0.9)]
    assert lines == [line('00000/1.jpg', regions)]


def test_a_cut_tar_and_going_on_behind_the_whole_ones(
    convert, tmp_path, capsys
):
    folder = tmp_path / 'grit'
    for n in range(3):
        path = folder / f'{n:05d}.tar'
        write_tar(path, (f'{n}0', SAMPLE), (f'{n}1', SAMPLE))
    whole = path.read_bytes()
    out = tmp_path / 'out'
    # in the pixels, behind a whole sample, and without its last blocks
    for end in (900, 2560, len(whole.rstrip(b'\0'))):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r'00002\.tar: the tar is cut off'):
            convert('grit', folder)
        # nothing under the name; the whole parts wait
        assert [file.name for file in out.iterdir()] == ['lines.jsonl.chunks']
        assert '2 of 3 files are in it' in capsys.readouterr().err
    path.write_bytes(whole)
    lines, tally = convert('grit', folder)
    names = [line['filename'] for line in lines]
    assert names == [f'0000{n}/{n}{i}.jpg' for n in (0, 1, 2) for i in (0, 1)]
    assert tally.written['lines'] == 6
    assert tally.dropped == {why: 6 * n for why, n in DROPPED.items()}


def test_what_is_no_grit(convert, tmp_path):
    with pytest.raises(DataError, match=r'no \.tar and no \.parquet'):
        convert('grit', tmp_path)
    bare = {k: v for k, v in SAMPLE.items() if k != 'ref_exps'}
    path = write_tar(tmp_path / 'a.tar', ('1', bare))
    with pytest.raises(DataError, match=r'lacks ref_exps.*save_additional'):
        convert('grit', path)
    for chunks in ([7], [[0, 'x', 0, 0, 1, 1]], 'no list'):
        write_tar(path, ('1', {**SAMPLE, 'ref_exps': chunks}))
        with pytest.raises(DataError, match=r'a\.tar: 1\.jpg is not as in gr'):
            convert('grit', path)
    write_tar(path, ('1', {**SAMPLE, 'ref_exps': [[1, 10, 0.1]]}))
    with pytest.raises(DataError, match='no box is left; chunks of fewer'):
        convert('grit', path)
    with pytest.raises(UsageError, match='these images are in tars'):
        convert('grit', tmp_path, '--images', tmp_path)
    path.write_bytes(b'no tar' * 99)
    with pytest.raises(DataError, match=r'a\.tar: the tar is cut off'):
        convert('grit', path)


def test_tars_of_one_name_are_refused(convert, tmp_path):
    for folder in 'ab':
        write_tar(tmp_path / 'grit' / folder / '00000.tar', ('0', SAMPLE))
    words = r'a/00000\.tar and .*b/00000\.tar: .* 00000/NAME; rename'
    with pytest.raises(DataError, match=words):
        convert('grit', tmp_path / 'grit')
    lines, _ = convert('grit', tmp_path / 'grit' / 'b')
    assert lines == [line('00000/0.jpg')]


def test_parquet(convert, image, tmp_path):
    pyarrow = pytest.importorskip('pyarrow', reason='pyarrow is optional')
    from pyarrow import parquet

    rows = [
        {'key': '000000003', **SAMPLE},
        {'key': '000000004', **SAMPLE, 'status': 'failed_to_download'},
        {'key': '000000005', **SAMPLE},
    ]
    path = tmp_path / 'grit/coyo_0/00000.parquet'
    image('grit/coyo_0/00000/000000003.jpg', 200, 100)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    source = tmp_path / 'grit'
    lines, tally = convert('grit', source, '--images', source)
    assert lines == [line('coyo_0/00000/000000003.jpg')]
    assert tally.dropped['images that failed'] == 1
    assert tally.dropped['lines whose image is missing'] == 1
    table = pyarrow.Table.from_pylist([SAMPLE])  # Microsoft's list of URLs
    parquet.write_table(table, path)
    with pytest.raises(DataError, match='has no column key'):
        convert('grit', source)
    path.write_bytes(b'PAR1' + b'0' * 50)
    with pytest.raises(DataError, match='not a whole parquet'):
        convert('grit', source)


def test_parquet_without_pyarrow(convert, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'pyarrow', None)
    (tmp_path / '0.parquet').write_bytes(b'')
    with pytest.raises(UsageError, match='pip install pyarrow'):
        convert('grit', tmp_path)
