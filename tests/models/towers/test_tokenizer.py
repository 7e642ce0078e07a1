"""Tokenizers of CLIPs: ids of open_clip, and the characters behind them."""

# ruff: noqa: RUF001 (characters that look alike are the point here)

import json
import multiprocessing
import pickle
import random
import string
import unicodedata

import open_clip
import pytest
import torch
from open_clip.tokenizer import (
    HFTokenizer,
    SimpleTokenizer,
    bytes_to_unicode,
    get_clean_fn,
)
from tiny_clips import VIT, with_tokenizer
from toy_tokenizers import SENTENCES, TOYS, save_toy
from transformers import BertTokenizer, PreTrainedTokenizerFast

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.towers import clip_spec, get_tokenizer
from harmoclip_mm.models.towers.text_cleaning import align, clean_with_origin

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
    '<s> dog </s> [SEP] <pad> [UNK] <eos>',
    '\t tab\n\nnew  line \r\n a_b-c/d',
    'word ' * 75,
    'word ' * 76,
    ' '.join(['supercalifragilistic dog'] * 40),
    'x' * 500,
    '!' * 300,
]
PUNCTUATION = set(string.punctuation)
# Bytes are letters to GPT-2, CLIP and RoBERTa.
SYMBOLS = {symbol: byte for byte, symbol in bytes_to_unicode().items()}
ALPHABET = "abcXYZ 0129 .,!?'&;#<>-_\t\nÃ¶â€™é”“ßİΣ日本犬😀\u200d\u0301\u00a0"


def random_texts(count):
    rng = random.Random(0)
    return [
        ''.join(rng.choices(ALPHABET, k=rng.randint(0, 60)))
        for _ in range(count)
    ]


@pytest.fixture(scope='module')
def tok():
    return clip_spec('ViT-B-16').tokenizer


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


# Toy, and how open_clip calls the tokenizer that it stands for.
HUGGING_FACE = [
    ('t5', dict(clean='canonicalize')),
    ('t5', dict(clean='lower')),
    ('mt5', dict(clean='canonicalize')),
    ('xlm_roberta', {}),
    ('gemma', dict(clean='canonicalize')),
    ('bert', dict(strip_sep_token=True)),
    ('roberta', {}),
]
IDS = ['-'.join([name, *map(str, kw.values())]) for name, kw in HUGGING_FACE]


@pytest.fixture(scope='module')
def toys(tmp_path_factory):
    root = tmp_path_factory.mktemp('toys')
    return {name: (root / name, save_toy(name, root / name)) for name in TOYS}


@pytest.fixture(params=HUGGING_FACE, ids=IDS)
def toy(request, toys):
    """Ours, open_clip's, and the name of the toy."""
    name, kwargs = request.param
    clip = with_tokenizer(VIT, *toys[name], **kwargs)
    clip['text_cfg']['context_length'] = 40
    theirs = HFTokenizer(str(toys[name][0]), context_length=40, **kwargs)
    return clip_spec(clip).tokenizer, theirs, name


# -- ids ---------------------------------------------------------------------


def test_ids_equal_open_clip_on_real_text(tok, real_texts):
    assert torch.equal(tok.ids(real_texts), open_clip.tokenize(real_texts))


@pytest.mark.parametrize('text', HARD_CASES)
def test_ids_equal_open_clip_on_hard_cases(tok, text):
    ids = tok.ids([text])
    assert torch.equal(ids, open_clip.tokenize([text]))
    assert torch.equal(tok.encode(text).ids, ids[0])


@pytest.mark.parametrize('clean', ['lower', 'whitespace', 'canonicalize'])
def test_ids_of_byte_pairs_with_other_settings(clean):
    kwargs = dict(clean=clean, additional_special_tokens=['<mask>'])
    clip = dict(VIT, text_cfg=dict(VIT['text_cfg'], tokenizer_kwargs=kwargs))
    clip['text_cfg']['context_length'] = 9
    tok = clip_spec(clip).tokenizer
    texts = [*HARD_CASES, 'a <mask> dog <MASK>', *random_texts(200)]
    expected = SimpleTokenizer(context_length=9, **kwargs)(texts)
    assert torch.equal(tok.ids(texts), expected)
    for text, row in zip(texts, expected):
        assert torch.equal(tok.encode(text).ids, row)


def test_ids_of_hugging_face_equal_open_clip(toy):
    tok, theirs, _ = toy
    texts = HARD_CASES + SENTENCES + random_texts(300)
    expected = theirs(texts)
    assert torch.equal(tok.ids(texts), expected)
    for text, row in zip(texts, expected):
        assert torch.equal(tok.encode(text).ids, row)


def test_ids_of_hugging_face_on_real_text(toy, real_texts):
    tok, theirs, _ = toy
    assert torch.equal(tok.ids(real_texts), theirs(real_texts))


def test_a_portable_tokenizer_makes_the_same_ids(tok, toys):
    """Where it can: SigLIP's cleaning is no part of it, CLIPA's neither."""
    texts = ['a dog', 'two red cars', 'long ' * 90]
    gemma = with_tokenizer(VIT, *toys['gemma'], clean='canonicalize')
    for each in (tok, clip_spec(gemma).tokenizer):
        found = each.portable().encode_batch(texts)
        assert [e.ids for e in found] == each.ids(texts).tolist()
    clipa = dict(tokenizer_kwargs=dict(clean='canonicalize'))
    clipa = dict(VIT, text_cfg=dict(VIT['text_cfg'], **clipa))
    assert clip_spec(clipa).tokenizer.portable() is None


def test_a_folder_brings_its_tokenizer(tmp_path):
    vocab_size = save_toy('gemma', tmp_path)
    # The folder's own files count, whatever name its config says.
    clip = with_tokenizer(VIT, 'timm/X', vocab_size, clean='canonicalize')
    config = json.dumps(dict(model_cfg=clip))
    (tmp_path / 'open_clip_config.json').write_text(config)
    tok = get_tokenizer(clip_spec(str(tmp_path)))
    theirs = open_clip.get_tokenizer(f'local-dir:{tmp_path}')
    assert torch.equal(tok.ids(SENTENCES), theirs(SENTENCES))


# -- characters --------------------------------------------------------------


def check_offsets(encoding, text):
    used = [pair for pair in encoding.offsets if pair[1]]
    assert len(encoding.offsets) == len(encoding.ids)
    assert all(0 <= start < end <= len(text) for start, end in used)
    assert used == sorted(used)
    assert [end for _, end in used] == sorted(end for _, end in used)
    assert len(used) <= encoding.num_tokens <= len(encoding.ids)


def test_offsets_of_random_text(tok):
    for text in random_texts(500):
        check_offsets(tok.encode(text), text)


def test_offsets_cut_the_words_out_of_the_caption(tok):
    text = '  A  Brown DOG,\tdon\'t "sit"! '
    encoding = tok.encode(text)
    pieces = [text[start:end] for start, end in encoding.offsets[1:-1]]
    words = ['A', 'Brown', 'DOG', ',', 'don', "'t", '"', 'sit', '"!']
    assert pieces == words + [''] * (75 - len(words))
    assert encoding.num_tokens == len(words) + 2
    assert not encoding.truncated


def test_offsets_tile_the_real_captions(tok, real_texts):
    # The pieces of a caption, joined, are the caption without white space.
    for text in real_texts:
        encoding = tok.encode(text)
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
        ('\x00d\x00og', ['d\x00og']),
    ],
)
def test_offsets_refer_to_the_text_before_cleaning(tok, text, pieces):
    used = [pair for pair in tok.encode(text).offsets if pair[1]]
    assert [text[start:end] for start, end in used] == pieces


# A piece of text and what cleaning makes of it before it looks at case and
# punctuation. Pieces change alone, so the origin of all they make is known.
PIECES = [
    *((word, word) for word in ('a', 'Dog', 'surfboard', '고양이', 'ΑΣ')),
    *((char, char) for char in 'ßẞİ犬😀'),
    *((char, char) for char in "_-.,!?'"),
    *((space, ' ') for space in (' ', '  ', '\t', '\u00a0', '\r\n')),
    ('&amp;', '&'),
    ('&lt;', '<'),
    ('&eacute;', 'é'),
    ('Ã¶', 'ö'),
    ('â€™', "'"),
    ('“', '"'),
    ('’', "'"),
    ('ﬁ', 'fi'),
    ('Ｆ', 'F'),
    ('e\u0301', 'é'),
    ('\ufeff', ''),
    ('\u200b', '\u200b'),
]


def clean_pieces(pieces, clean):
    """What becomes of pieces: characters and the piece of each, without
    white space; None if the pieces do not change alone."""
    owners = [i for i, (_, fixed) in enumerate(pieces) for _ in fixed]
    fixed = list(''.join(fixed for _, fixed in pieces))
    if clean == 'canonicalize':
        fixed = [' ' if char == '_' else char for char in fixed]
        kept = [i for i, c in enumerate(fixed) if c not in PUNCTUATION]
        fixed, owners = [fixed[i] for i in kept], [owners[i] for i in kept]
    if clean != 'whitespace':
        owners = [o for c, o in zip(fixed, owners) for _ in c.lower()]
        fixed = list(''.join(fixed).lower())
    solid = [(c, o) for c, o in zip(fixed, owners) if not c.isspace()]
    goal = get_clean_fn(clean)(''.join(raw for raw, _ in pieces))
    if [c for c, _ in solid] == [c for c in goal if not c.isspace()]:
        return solid
    return None


def made_of_pieces(count, clean):
    """Texts whose every character has a known origin."""
    rng = random.Random(1)
    usable = 0
    for _ in range(count):
        pieces = rng.choices(PIECES, k=rng.randint(1, 12))
        ends = [clean_pieces(pieces[i:], clean) for i in range(len(pieces))]
        if None in ends:
            continue  # ftfy takes a ligature after mojibake for more of it
        usable += 1
        yield pieces, ''.join(raw for raw, _ in pieces), ends[0]
    assert usable > count / 2


def contents(tok, theirs, name, encoding):
    """The bytes that each token stands for, from the vocabulary alone."""
    for token, used in zip(encoding.ids.tolist(), tok.text_mask(encoding)):
        if name == 'clip':
            symbols = theirs.decoder[token].replace('</w>', '')
            value = bytes(SYMBOLS.get(char, 0) for char in symbols)
        else:
            value = theirs.tokenizer.convert_ids_to_tokens(token)
            if name == 'roberta':
                value = bytes(SYMBOLS.get(char, 0) for char in value)
            elif value.startswith('<0x'):
                value = bytes([int(value[3:-1], 16)])
            else:
                value = value.replace('▁', '').replace('##', '').encode()
        yield value.replace(b' ', b'') if used else b''


def check_against_vocabulary(tok, theirs, name, clean, normalise):
    """A span's tokens are those that spell characters of its pieces."""
    rng = random.Random(2)
    checked = 0
    for pieces, text, solid in made_of_pieces(400, clean):
        encoding = tok.encode(text)
        check_offsets(encoding, text)
        if encoding.truncated:
            continue
        owners = [o for char, o in solid for _ in normalise(char).encode()]
        spelled = b''.join(normalise(char).encode() for char, _ in solid)
        tokens = list(contents(tok, theirs, name, encoding))
        if b''.join(tokens) != spelled:
            continue  # the vocabulary lacks a letter
        checked += 1
        edges = [0]
        for raw, _ in pieces:
            edges.append(edges[-1] + len(raw))
        for _ in range(5):
            first = rng.randrange(len(pieces))
            last = rng.randrange(first, len(pieces))
            if not any(first <= owner <= last for owner in owners):
                continue
            expected, position = [], 0
            for token in tokens:
                spelt = owners[position : position + len(token)]
                expected.append(any(first <= o <= last for o in spelt))
                position += len(token)
            mask = tok.span_mask(encoding, [[edges[first], edges[last + 1]]])
            assert mask.tolist() == expected, (text, first, last)
    return checked


@pytest.mark.parametrize('clean', ['lower', 'whitespace', 'canonicalize'])
def test_spans_of_byte_pairs_against_the_vocabulary(clean):
    kwargs = dict(clean=clean)
    clip = dict(VIT, text_cfg=dict(VIT['text_cfg'], tokenizer_kwargs=kwargs))
    checked = check_against_vocabulary(
        clip_spec(clip).tokenizer,
        SimpleTokenizer(**kwargs),
        'clip',
        clean,
        str,
    )
    assert checked > 200


def nfkc(char):
    return unicodedata.normalize('NFKC', char)


def bare(char):
    letters = unicodedata.normalize('NFD', char.lower())
    return ''.join(c for c in letters if unicodedata.category(c) != 'Mn')


# What the toys do to the clean text.
NORMALISE = dict(t5=nfkc, mt5=nfkc, xlm_roberta=nfkc, bert=bare)


def test_spans_of_hugging_face_against_the_vocabulary(toy):
    tok, theirs, name = toy
    clean = json.loads(tok.kwargs).get('clean', 'whitespace')
    normalise = NORMALISE.get(name, str)
    checked = check_against_vocabulary(tok, theirs, name, clean, normalise)
    # Toys without bytes know few letters.
    assert checked > (200 if name in ('gemma', 'roberta') else 10)


def test_spans_of_words_in_real_captions(toy, real_texts):
    """Every token belongs to the words that it spells, and to no other."""
    tok, theirs, _ = toy
    for text in real_texts[:200]:
        encoding = tok.encode(text)
        check_offsets(encoding, text)
        whole = torch.zeros(len(encoding.ids), dtype=torch.bool)
        start = 0
        for word in text.split():
            start = text.index(word, start)
            end = start + len(word)
            mask = tok.span_mask(encoding, [[start, end]])
            if end <= encoding.kept_chars:
                expected = theirs.clean_fn(word) != ''
                assert mask.any() == expected, (text, word)
            whole |= mask
            start = end
        text_mask = tok.text_mask(encoding)
        assert torch.equal(whole, text_mask) or encoding.truncated


def test_bert_spans(toys):
    clip = with_tokenizer(VIT, *toys['bert'], strip_sep_token=True)
    tok = clip_spec(clip).tokenizer
    text = '  Où est le  café? surfboards, 犬 park'
    encoding = tok.encode(text)
    used = [text[start:end] for start, end in encoding.offsets if end]
    assert ''.join(used) == ''.join(text.split())
    start = text.index('surf')
    mask = tok.span_mask(encoding, [[start, start + 10]])
    hits = [pair for pair, hit in zip(encoding.offsets, mask) if hit]
    assert ''.join(text[s:e] for s, e in hits) == 'surfboards'


# -- cleaning ----------------------------------------------------------------


@pytest.mark.parametrize('kind', ['whitespace', 'lower', 'canonicalize'])
def test_clean_text_is_open_clips(kind):
    clean = get_clean_fn(kind)
    for text in HARD_CASES + random_texts(500):
        found, origin = clean_with_origin(text, kind)
        assert found == clean(text)
        assert len(origin) == len(found)
        assert all(0 <= start < end <= len(text) for start, end in origin)
        assert origin == sorted(origin)
        assert [end for _, end in origin] == sorted(end for _, end in origin)


def test_align_of_insertions_and_deletions():
    assert align('abc', 'abc') == [(0, 1), (1, 2), (2, 3)]
    assert align('abc', '') == []
    assert align('x&amp;y', 'x&y') == [(0, 1), (1, 6), (6, 7)]
    assert align('x “y', 'x "y') == [(0, 1), (1, 2), (2, 3), (3, 4)]
    # The space after it decides on this letter.
    text = 'a voilÃ  b'
    assert align(text, 'a voilà  b') == [(i, i + 1) for i in range(10)]
    # Not a repair at all.
    assert align('b ac', 'b abc') == [(0, 1), (1, 2), (2, 3), (3, 4), (3, 4)]
    # Frequent words and letters are no junk.
    found = align('dog &amp; ' * 100, 'dog & ' * 100)
    assert found[-2:] == [(994, 999), (999, 1000)]


# -- masks -------------------------------------------------------------------


def test_span_mask_marks_the_tokens_of_a_phrase(tok):
    text = 'a supercalifragilistic dog and a cat'
    encoding = tok.encode(text)
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


def test_masks_never_hold_special_tokens_or_padding(tok):
    encoding = tok.encode('a dog')
    mask = tok.span_mask(encoding, [[0, 5]])
    assert mask.nonzero().flatten().tolist() == [1, 2]
    assert torch.equal(tok.text_mask(encoding), mask)


def test_masks_where_padding_has_the_id_that_ends_a_text(toys):
    clip = with_tokenizer(VIT, *toys['t5'], clean='canonicalize')
    tok = clip_spec(clip).tokenizer
    encoding = tok.encode('A dog!')
    last = encoding.num_tokens - 1
    assert (encoding.ids[last:] == 1).all() and last < 10
    mask = tok.text_mask(encoding)
    assert mask[:last].all() and not mask[last:].any()
    assert torch.equal(tok.span_mask(encoding, [[0, 6]]), mask)
    # An empty text is padding and its end alone.
    assert not tok.text_mask(tok.encode(' ')).any()


def test_span_mask_is_empty_for_a_phrase_that_fell_off(tok):
    text = 'word ' * 74 + 'supercalifragilistic dog'
    encoding = tok.encode(text)
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


def test_what_falls_off_a_hugging_face_tokenizer(toy):
    tok, _, _ = toy
    text = 'a brown dog and ' * 20
    encoding = tok.encode(text)
    assert encoding.truncated and encoding.num_tokens == 40
    ends = [end for _, end in encoding.offsets]
    # What is kept and what fell off meet at white space, if at any.
    assert max(ends) <= encoding.kept_chars < len(text)
    assert not text[max(ends) : encoding.kept_chars].strip()
    assert not tok.span_mask(encoding, [[0, len(text) - 1]]).any()
    fits = tok.encode('a dog')
    assert not fits.truncated and fits.kept_chars == 5


def test_a_text_that_just_fits_is_not_truncated(tok):
    fits = tok.encode('word ' * 75)
    assert not fits.truncated and fits.num_tokens == 77
    over = tok.encode('word ' * 76)
    assert over.truncated and over.kept_chars == 75 * 5
    assert torch.equal(fits.ids, over.ids)


@pytest.mark.parametrize('span', [[-1, 2], [3, 3], [4, 2], [0, 6]])
def test_span_mask_rejects_spans_outside_the_caption(tok, span):
    encoding = tok.encode('a dog')
    with pytest.raises(ValueError, match='caption of 5 characters'):
        tok.span_mask(encoding, [span])


# -- what cannot be ----------------------------------------------------------


def test_input_that_is_not_text(tok):
    with pytest.raises(TypeError, match=r'texts\[1\] .* NoneType: None'):
        tok.ids(['a dog', None])
    with pytest.raises(TypeError, match='got int: 3'):
        tok.encode(3)


def test_no_texts_give_no_rows(tok, toy):
    for each, length in ((tok, 77), (toy[0], 40)):
        ids = each.ids([])
        assert ids.shape == (0, length) and ids.dtype == torch.long


def test_files_that_are_not_at_hand_are_one_sentence(tmp_path):
    tok = clip_spec('ViT-B-16-SigLIP2').tokenizer
    clip = with_tokenizer(VIT, 'nobody/has-this', 10)
    with pytest.raises(UsageError, match='hf download nobody/has-this'):
        clip_spec(clip).tokenizer.ids(['a dog'])
    with pytest.raises(UsageError, match=r'tokenizer\.json .* there'):
        clip_spec(with_tokenizer(VIT, tmp_path, 10)).tokenizer.encode('a dog')
    assert tok.context_length == 64


def test_tokenizers_without_characters_are_refused(toys, tmp_path):
    folder = toys['bert'][0]
    BertTokenizer(str(folder / 'vocab.txt')).save_pretrained(tmp_path)
    clip = with_tokenizer(VIT, tmp_path, 300, use_fast=False)
    with pytest.raises(UsageError, match='need a fast tokenizer'):
        clip_spec(clip).tokenizer.ids(['a dog'])
    left = PreTrainedTokenizerFast.from_pretrained(
        str(folder), truncation_side='left'
    )
    left.save_pretrained(tmp_path / 'left')
    clip = with_tokenizer(VIT, tmp_path / 'left', 300)
    with pytest.raises(UsageError, match='cuts at the left'):
        clip_spec(clip).tokenizer.ids('')


def test_modes_that_draw_tokens_are_refused():
    for text in (
        dict(tokenizer_mode='clips', hf_tokenizer_name='x'),
        dict(tokenizer_kwargs=dict(reduction_mask='syntax')),
    ):
        clip = dict(VIT, text_cfg=dict(VIT['text_cfg'], **text))
        with pytest.raises(UsageError, match=r'(clips|syntax).*not supported'):
            get_tokenizer(clip_spec(clip))


# -- processes ---------------------------------------------------------------


def _encode(tok, text):
    encoding = tok.encode(text)
    return encoding.ids.tolist(), encoding.offsets


@pytest.mark.usefixtures('forkserver')
@pytest.mark.parametrize('method', ['fork', 'forkserver'])
def test_works_in_worker_processes(toys, method):
    clips = (VIT, with_tokenizer(VIT, *toys['gemma']))
    work = [
        (clip_spec(c).tokenizer, 'a supercalifragilistic dog') for c in clips
    ]
    assert len(pickle.dumps(work)) < 1000
    # The vocabularies are loaded before the fork.
    expected = [_encode(*each) for each in work]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.starmap(_encode, work) == expected
