"""Tests of the CLIP tokenizer against open_clip, and of its offsets."""

# ruff: noqa: RUF001 (characters that look alike are the point here)

import gzip
import json
import multiprocessing
import pickle
import random
import subprocess
import sys

import pytest
import torch

from harmoclip_mm.text import CLIPTokenizer
from harmoclip_mm.text.cleaning import align, clean_text

HARD_CASES = [
    '',
    '   ',
    "don't you'll I'm he'd they've we're it's 'S",
    'AT&amp;T &lt;b&gt; &amp;amp; &quot;x&quot; &#28;y&#x41;&eacute;',
    'caf\u00e9 cafe\u0301 K Å ＦＵＬＬ width ﬁre ﬂy',
    'schÃ¶n â€œquotedâ€\x9d itâ€™s',
    '“curly” ‘q’ it’s',
    '12345 3.14 ①²½ Ⅷ ⅷ',
    '😀 👩\u200d👩\u200d👧 🇩🇪 🇩 dog',
    'İstanbul İİ DOG ΑΣ ΣΑΣ ß ẞ',
    "'ſ 'S 日本語の犬 고양이",
    'a\x00b\x0bc\x1cd\x85e\u2028f \u200bzero\ufeffwidth',
    '\x1b[31mred\x1b[0m \ud800 surrogate',
    '<start_of_text> dog <END_OF_TEXT> ..<start_of_text>',
    '\t tab\n\nnew  line \r\n a_b-c/d',
    'word ' * 75,
    'word ' * 76,
    ' '.join(['supercalifragilistic dog'] * 40),
    'x' * 500,
    '!' * 300,
]


@pytest.fixture(scope='module')
def open_clip():
    return pytest.importorskip('open_clip')


@pytest.fixture(scope='module')
def tok():
    return CLIPTokenizer()


@pytest.fixture(scope='module')
def real_texts(coco_photos):
    texts = []
    for split in ('train', 'val'):
        path = coco_photos / f'annotations/captions_{split}2017.json'
        captions = json.loads(path.read_text())['annotations']
        texts += [annotation['caption'] for annotation in captions]
    for line in (coco_photos / 'fgovd/region_phrases.jsonl').open():
        record = json.loads(line)
        texts += record['pos_expression'] + record['neg_expression']
    assert len(texts) > 405
    return texts


def test_ids_equal_open_clip_on_real_text(open_clip, tok, real_texts):
    assert torch.equal(tok(real_texts), open_clip.tokenize(real_texts))


@pytest.mark.parametrize('text', HARD_CASES)
def test_ids_equal_open_clip_on_hard_cases(open_clip, tok, text):
    ids = tok([text])
    assert torch.equal(ids, open_clip.tokenize([text]))
    assert torch.equal(tok.encode_with_offsets(text).ids, ids[0])


def test_ids_equal_open_clip_at_other_lengths(open_clip, tok, real_texts):
    for length in (2, 3, 8, 100):
        expected = open_clip.tokenize(real_texts[:40], context_length=length)
        assert torch.equal(tok(real_texts[:40], length), expected)
    assert torch.equal(CLIPTokenizer(8)('a dog'), tok('a dog', 8))


def test_ids_equal_open_clip_on_random_unicode(open_clip, tok):
    rng = random.Random(0)
    alphabet = (
        "abcXYZ 0129 .,!?'&;#<>-_\t\nÃ¶â€™é”“ßİΣ日本犬😀\u200d\u0301\u00a0"
    )
    texts = [
        ''.join(rng.choices(alphabet, k=rng.randint(0, 60)))
        for _ in range(500)
    ]
    assert torch.equal(tok(texts), open_clip.tokenize(texts))
    for text in texts:
        check_offsets(tok.encode_with_offsets(text), text)


def check_offsets(encoding, text):
    used = encoding.offsets[1 : encoding.num_tokens - 1]
    assert len(encoding.offsets) == len(encoding.ids)
    assert all(0 <= start < end <= len(text) for start, end in used)
    assert used == sorted(used)
    assert [end for _, end in used] == sorted(end for _, end in used)
    rest = [encoding.offsets[0], *encoding.offsets[encoding.num_tokens - 1 :]]
    assert all(pair == (0, 0) for pair in rest)
    assert encoding.ids[encoding.num_tokens - 1] == CLIPTokenizer.eot_id


def test_offsets_cut_the_words_out_of_the_caption(tok):
    text = '  A  Brown DOG,\tdon\'t "sit"! '
    encoding = tok.encode_with_offsets(text)
    pieces = [text[start:end] for start, end in encoding.offsets[1:-1]]
    words = ['A', 'Brown', 'DOG', ',', 'don', "'t", '"', 'sit', '"!']
    assert pieces == words + [''] * (75 - len(words))
    assert encoding.num_tokens == len(words) + 2
    assert not encoding.truncated


def test_offsets_tile_the_real_captions(tok, real_texts):
    # The pieces of a caption, joined, are the caption without white space.
    for text in real_texts:
        encoding = tok.encode_with_offsets(text)
        check_offsets(encoding, text)
        pieces = ''.join(text[s:e] for s, e in encoding.offsets)
        kept = text[: encoding.kept_chars] if encoding.truncated else text
        assert pieces == ''.join(kept.split())


@pytest.mark.parametrize(
    ('text', 'pieces'),
    [
        # 'İ' becomes two characters in lower case, so all after it shifts.
        ('İ dog', ['İ', 'İ', 'dog']),
        ('AT&amp;T dog', ['AT', '&amp;', 'T', 'dog']),
        ('&lt;b&gt; dog', ['&lt;', 'b', '&gt;', 'dog']),
        ('schÃ¶n dog', ['sch', 'Ã¶', 'n', 'dog']),
        ('it’s “a” dog', ['it', '’s', '“', 'a', '”', 'dog']),
        ('cafe\u0301 dog', ['cafe\u0301', 'dog']),
        ('ﬁre\u2028dog', ['ﬁre', 'dog']),
        # Four bytes, two tokens, one character.
        ('🇩 dog', ['🇩', '🇩', 'dog']),
        ('\x00d\x00og', ['\x00d\x00og']),
    ],
)
def test_offsets_refer_to_the_text_before_cleaning(tok, text, pieces):
    encoding = tok.encode_with_offsets(text)
    used = encoding.offsets[1 : encoding.num_tokens - 1]
    assert [text[start:end] for start, end in used] == pieces


def test_clean_text_needs_no_alignment_for_plain_text():
    assert clean_text('A Dog &') == ('a dog &', None)
    assert clean_text('Ein Hünd') == ('ein hünd', None)
    assert clean_text("It's\n50%!~") == ("it's\n50%!~", None)


def test_align_of_insertions_and_deletions():
    assert align('abc', 'abc') == [(0, 1), (1, 2), (2, 3)]
    assert align('abc', '') == []
    assert align('', 'ab') == [(0, 0), (0, 0)]
    assert align('ac', 'abc') == [(0, 1), (0, 1), (1, 2)]
    assert align('xabc', 'abc') == [(0, 2), (2, 3), (3, 4)]
    assert align('x y', 'x z') == [(0, 1), (1, 2), (2, 3)]


def test_span_mask_marks_the_tokens_of_a_phrase(tok):
    text = 'a supercalifragilistic dog and a cat'
    encoding = tok.encode_with_offsets(text)
    start = text.index('super')
    end = text.index(' and')
    mask = tok.span_mask(encoding, [[start, end]])
    assert mask.dtype == torch.bool and mask.shape == (77,)
    marked = [
        text[s:e]
        for (s, e), flag in zip(encoding.offsets, mask.tolist())
        if flag
    ]
    assert ''.join(marked) == 'supercalifragilisticdog'
    assert len(marked) > 2
    two = tok.span_mask(encoding, [[start, end], [end + 1, end + 4]])
    assert two.sum() == mask.sum() + 1
    # One character of a word is enough to mark its token.
    assert tok.span_mask(encoding, [[end - 1, end]]).sum() == 1
    assert not tok.span_mask(encoding, []).any()
    # White space has no token.
    assert not tok.span_mask(encoding, [[1, 2]]).any()


def test_span_mask_never_marks_sot_eot_or_padding(tok):
    text = 'a dog'
    mask = tok.span_mask(tok.encode_with_offsets(text), [[0, 5]])
    assert mask.nonzero().flatten().tolist() == [1, 2]


def test_span_mask_is_empty_for_a_phrase_that_fell_off(tok):
    text = 'word ' * 74 + 'supercalifragilistic dog'
    encoding = tok.encode_with_offsets(text)
    assert encoding.truncated and encoding.num_tokens == 77
    # 74 words and the first piece of the long one fit.
    assert encoding.kept_chars == encoding.offsets[75][1] > 370
    start = text.index('super')
    assert not tok.span_mask(encoding, [[start, len(text)]]).any()
    assert not tok.span_mask(encoding, [[len(text) - 3, len(text)]]).any()
    # Half of a phrase is not the phrase, in one span or in two.
    assert not tok.span_mask(encoding, [[start, start + 20]]).any()
    assert not tok.span_mask(encoding, [[0, 4], [start, start + 20]]).any()
    assert tok.span_mask(encoding, [[365, 369]]).sum() == 1


def test_a_text_that_just_fits_is_not_truncated(tok):
    fits = tok.encode_with_offsets('word ' * 75)
    assert not fits.truncated and fits.num_tokens == 77
    over = tok.encode_with_offsets('word ' * 76)
    assert over.truncated and over.kept_chars == 75 * 5
    assert torch.equal(fits.ids, over.ids)


@pytest.mark.parametrize('span', [[-1, 2], [3, 3], [4, 2], [0, 6]])
def test_span_mask_rejects_spans_outside_the_caption(tok, span):
    encoding = tok.encode_with_offsets('a dog')
    with pytest.raises(ValueError, match='caption of 5 characters'):
        tok.span_mask(encoding, [span])


def test_input_that_is_not_text(tok):
    with pytest.raises(TypeError, match=r'texts\[1\] .* NoneType: None'):
        tok(['a dog', None])
    with pytest.raises(TypeError, match='got int: 3'):
        tok.encode_with_offsets(3)
    with pytest.raises(ValueError, match='at least 2'):
        CLIPTokenizer(1)
    with pytest.raises(ValueError, match='at least 2'):
        tok('a', context_length=0)


def test_no_texts_give_no_rows(tok):
    ids = tok([])
    assert ids.shape == (0, 77) and ids.dtype == torch.long


def test_special_ids(tok):
    row = tok('dog')[0]
    assert row[0] == tok.sot_id == 49406
    assert row[2] == tok.eot_id == 49407 == tok.vocab_size - 1
    assert not row[3:].any()


def test_another_vocabulary_file_is_refused(tmp_path):
    path = tmp_path / 'merges.txt.gz'
    path.write_bytes(gzip.compress(b'version\na b\n'))
    with pytest.raises(ValueError, match='not the BPE vocabulary of CLIP'):
        CLIPTokenizer(vocab_file=path)('a')


def _encode(tok, text):
    encoding = tok.encode_with_offsets(text)
    return encoding.ids.tolist(), encoding.offsets


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_works_in_worker_processes(tok, method):
    assert len(pickle.dumps(tok)) < 1000
    text = 'a supercalifragilistic dog'
    expected = _encode(tok, text)  # the vocabulary is loaded before the fork
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        results = pool.starmap(_encode, [(tok, text)] * 4)
    assert results == [expected] * 4


def test_using_it_imports_neither_open_clip_nor_mmdet():
    code = (
        'import sys; from harmoclip_mm.text import CLIPTokenizer;'
        'CLIPTokenizer()("a dog"); assert "open_clip" not in sys.modules;'
        'assert "mmdet" not in sys.modules'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
