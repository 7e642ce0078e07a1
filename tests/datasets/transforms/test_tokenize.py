import pickle

import numpy as np
import open_clip
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from harmoclip_mm.datasets.transforms import TokenizeRegionText
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.towers.tokenizer import CLIPTokenizer
from harmoclip_mm.text import phrase_key, phrases_of

CLIP = 'ViT-B-16'  # one token a word of these tests


def sample(caption, regions, labels):
    """Regions are (phrase, spans); labels index them, one for each box."""
    boxes = np.zeros((len(labels), 4), dtype=np.float32)
    boxes[:, 2] = np.arange(1, len(labels) + 1)
    return {
        'text': caption,
        'phrases': {
            label: {'phrase': phrase, 'tokens_positive': spans}
            for label, (phrase, spans) in enumerate(regions)
        },
        'gt_bboxes': HorizontalBoxes(boxes),
        'gt_bboxes_labels': np.array(labels, dtype=np.int64),
        'gt_ignore_flags': np.zeros(len(labels), dtype=bool),
    }


def test_ids_and_masks():
    caption = 'a small red star and a blue ring'
    regions = [('small red star', [[2, 16]]), ('blue ring', [[23, 32]])]
    results = TokenizeRegionText(CLIP)(sample(caption, regions, [0, 1, 0]))
    tokenizer = open_clip.get_tokenizer(CLIP)
    assert torch.equal(results['caption_ids'], tokenizer([caption]))
    phrases = ['small red star', 'blue ring']
    assert torch.equal(results['phrase_ids'], tokenizer(phrases))
    # SOT a [small red star] and a [blue ring] EOT: one token a word.
    masks = results['phrase_masks']
    assert masks.shape == (2, 77) and masks.dtype == torch.bool
    assert masks[0].nonzero().flatten().tolist() == [2, 3, 4]
    assert masks[1].nonzero().flatten().tolist() == [7, 8]
    # The masked tokens of the caption are the tokens of the phrase alone.
    for ids, mask in zip(results['phrase_ids'], masks):
        inside = results['caption_ids'][0][mask]
        assert torch.equal(ids[1 : 1 + len(inside)], inside)
    assert results['phrase_spans'].tolist() == [True, True]
    keys = [phrase_key('a Small red star.'), phrase_key('the blue ring')]
    assert results['phrase_keys'].tolist() == keys
    assert results['gt_bboxes_labels'].tolist() == [0, 1, 0]


def _lexeme_key(clip, caption, phrase='circle', skip=0):
    start = -1
    for _ in range(skip + 1):
        start = caption.index(phrase, start + 1)
    spans = [[start, start + len(phrase)]]
    results = TokenizeRegionText(clip)(sample(caption, [(phrase, spans)], [0]))
    return results['lexeme_keys'].item()


@pytest.mark.parametrize('reads_on', [False, True])
def test_lexeme_keys(reads_on):
    """Equal where the tower has read the same when it comes to the end."""
    cfg = open_clip.get_model_config(CLIP)
    cfg['text_cfg']['no_causal_mask'] = reads_on
    caption = 'in red a circle and in blue a circle'
    key = _lexeme_key(cfg, caption)
    assert key == _lexeme_key(cfg, 'In red  a circle AND in blue a circle')
    others = [
        _lexeme_key(cfg, caption, skip=1),
        _lexeme_key(cfg, caption.replace('red', 'green')),
        _lexeme_key(cfg, caption, 'a circle'),
        phrase_key('circle'),
    ]
    assert key not in others and len(set(others)) == 4
    later = _lexeme_key(cfg, caption.replace('blue', 'green'))
    assert (key == later) is not reads_on
    # a text of its own has read nothing else
    regions = [('a Circle', []), ('the circle.', [])]
    alone = TokenizeRegionText(cfg)(sample(caption, regions, [0, 1]))
    assert alone['lexeme_keys'].tolist() == [phrase_key('circle')] * 2


def test_negatives():
    """Of phrases in use, as many as are wanted; the rest is masked out."""
    regions = [('red star', []), ('cat', []), ('dog', []), ('ring', [])]
    results = sample('', regions, [3, 0, 2])
    results['phrases'][0]['negatives'] = ['blue star', 'red ring', 'red dot']
    results['phrases'][1]['negatives'] = ['dog']
    results['phrases'][3]['negatives'] = ['rings']
    results = TokenizeRegionText(CLIP, negatives=2)(results)
    assert results['negative_masks'].tolist() == [
        [True, True], [False, False], [True, False],
    ]  # fmt: skip
    tokenizer = open_clip.get_tokenizer(CLIP)
    texts = ['blue star', 'red ring', 'dog', 'dog', 'rings', 'ring']
    found = results['negative_ids']
    assert torch.equal(found.flatten(0, 1), tokenizer(texts))
    none = TokenizeRegionText(CLIP, negatives=2)(sample('', [], []))
    assert none['negative_ids'].shape == (0, 2, 77)
    assert none['negative_masks'].shape == (0, 2)
    assert 'negative_ids' not in TokenizeRegionText(CLIP)(sample('', [], []))


def test_phrases_without_a_region_are_left_out():
    regions = [('a', [[0, 1]]), ('b', [[2, 3]]), ('c', [[4, 5]])]
    results = TokenizeRegionText(CLIP)(sample('a b c', regions, [2, 0, 2]))
    assert results['phrases'] == {
        0: {'phrase': 'a', 'tokens_positive': [[0, 1]]},
        1: {'phrase': 'c', 'tokens_positive': [[4, 5]]},
    }
    assert results['gt_bboxes_labels'].tolist() == [1, 0, 1]
    assert results['phrase_ids'].shape == (2, 77)


def test_a_phrase_beyond_the_context_goes_with_its_regions():
    caption = ' '.join(['word'] * 90) + ' dog'
    end = len(caption)
    regions = [('dog', [[end - 3, end]]), ('word', [[0, 4]])]
    transform = TokenizeRegionText(CLIP)
    results = transform(sample(caption, regions, [0, 1, 0]))
    assert phrases_of(results) == ['word']
    assert results['gt_bboxes_labels'].tolist() == [0]
    assert results['gt_bboxes'].tensor[:, 2].tolist() == [2]
    assert len(results['gt_ignore_flags']) == 1
    assert results['phrase_masks'].sum() == 1
    assert transform.counters.totals() == {'cut_phrases': 1, 'cut_captions': 1}


def test_what_has_no_word_is_no_text():
    """White space, and what the cleaning leaves nothing of."""
    transform = TokenizeRegionText(CLIP)
    regions = [('&nbsp;', []), ('dog', []), (' ', [[0, 1]])]
    results = transform(sample('  ', regions, [0, 1, 2]))
    assert results['caption_ids'].shape == (0, 77)
    assert phrases_of(results) == ['dog']
    assert results['gt_bboxes_labels'].tolist() == [0]
    assert transform.counters.totals()['cut_phrases'] == 2


def test_a_phrase_that_is_a_text_of_its_own_has_an_empty_mask():
    regions = [('a cat', []), ('dog', [[2, 5]])]
    results = TokenizeRegionText(CLIP)(sample('a dog', regions, [0, 1]))
    assert phrases_of(results) == ['a cat', 'dog']
    assert results['phrase_masks'].sum(1).tolist() == [2, 1]
    # Read alone, a phrase is what stands between SOT and EOT.
    assert results['phrase_masks'][0].nonzero().flatten().tolist() == [1, 2]
    assert results['phrase_spans'].tolist() == [False, True]
    alone = TokenizeRegionText(CLIP)(sample('', [('a cat', [])], [0]))
    assert alone['caption_ids'].shape == (0, 77)
    assert alone['phrase_ids'].shape == (1, 77)


def test_without_regions():
    results = TokenizeRegionText(CLIP)(
        sample('a dog', [('dog', [[2, 5]])], [])
    )
    assert results['phrases'] == {}
    assert results['phrase_keys'].dtype == torch.int64
    assert results['lexeme_keys'].dtype == torch.int64
    assert results['phrase_spans'].dtype == torch.bool
    assert results['phrase_ids'].shape == (0, 77)
    assert results['phrase_masks'].shape == (0, 77)
    assert results['caption_ids'].shape == (1, 77)


def test_captions_for_retrieval():
    results = TokenizeRegionText(CLIP)({'captions': ['a dog', 'two dogs']})
    assert results['caption_ids'].shape == (2, 77)
    assert 'phrase_ids' not in results
    none = TokenizeRegionText(CLIP)({'captions': []})
    assert none['caption_ids'].shape == (0, 77)
    assert none['caption_ids'].dtype == torch.int64


def test_all_captions_win_over_the_one():
    results = sample('a dog', [('dog', [[2, 5]])], [0])
    results['captions'] = ['x', 'y']
    results = TokenizeRegionText(CLIP)(results)
    assert torch.equal(results['caption_ids'], open_clip.tokenize(['x', 'y']))


def test_the_clip_says_how_long_texts_are():
    clip = dict(
        embed_dim=8,
        vision_cfg=dict(image_size=32, patch_size=16, width=64, layers=1),
        text_cfg=dict(context_length=32, width=64, heads=1, layers=1),
    )
    transform = TokenizeRegionText(clip)
    results = transform(sample('a red star', [('red star', [[2, 10]])], [0]))
    assert results['caption_ids'].shape == (1, 32)
    assert results['phrase_ids'].shape == (1, 32)
    assert results['phrase_masks'].shape == (1, 32)


def test_tokenizers_are_read_when_they_are_needed(monkeypatch):
    """SigLIP 2's files are not at hand: the pipeline builds, and travels to
    the workers; its first text tells what to fetch."""
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    transform = TokenizeRegionText('ViT-B-16-SigLIP2')
    transform = pickle.loads(pickle.dumps(transform))
    with pytest.raises(UsageError, match='ViT-B-16-SigLIP2'):
        transform({'captions': ['a dog']})


def test_a_clip_is_needed():
    with pytest.raises(UsageError, match='load_config'):
        TokenizeRegionText(None)
    with pytest.raises(UsageError, match='ViT-B-16'):
        TokenizeRegionText('ViT-B-61')


def test_phrases_are_read_together(monkeypatch):
    """All that are in use in one call; located in the text is the caption,
    and phrases that are texts of their own."""
    located, read = [], []
    encode, ids = CLIPTokenizer.encode, CLIPTokenizer.ids
    monkeypatch.setattr(
        CLIPTokenizer,
        'encode',
        lambda self, text: located.append(text) or encode(self, text),
    )
    monkeypatch.setattr(
        CLIPTokenizer,
        'ids',
        lambda self, texts: read.append(texts) or ids(self, texts),
    )
    regions = [('dog', [[2, 5]]), ('cat', []), ('bird', [])]
    TokenizeRegionText(CLIP)(sample('a dog', regions, [1, 0, 0]))
    assert located == ['a dog', 'cat']
    assert read == [['dog', 'cat'], ['a dog']]
