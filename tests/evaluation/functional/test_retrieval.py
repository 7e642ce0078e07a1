"""Retrieval by hand, by loops and by open_clip."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import (
    region_retrieval,
    retrieval_ranks,
)


def recall_of(images, texts, owner, topk=(1, 5, 10), **kwargs):
    found = retrieval_ranks(images, texts, owner, **kwargs)
    return {
        f'{name}_r{k}': 100 * (ranks <= k).mean()
        for name, (_, ranks) in found.items()
        for k in topk
    }


def _unit(rng, *shape):
    x = rng.standard_normal(shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _brute_force(images, texts, owner):
    """Ranks by sorting, rivals of equal similarity before the answer."""
    similarity = images.astype(np.float64) @ texts.astype(np.float64).T
    similarity = similarity.astype(np.float32)
    i2t, t2i = [], []
    for i, row in enumerate(similarity):
        order = sorted(
            range(len(texts)), key=lambda j: (-row[j], owner[j] == i)
        )
        hits = [n for n, j in enumerate(order, 1) if owner[j] == i]
        i2t.append(hits[0] if hits else 0)
    for j, column in enumerate(similarity.T):
        order = sorted(
            range(len(images)), key=lambda i: (-column[i], owner[j] == i)
        )
        t2i.append(order.index(owner[j]) + 1)
    return np.array(i2t), np.array(t2i)


def test_hand_derived_recall():
    # similarity rows: image 0: .9 .2 .9, image 1: .1 .8 .3
    images = np.eye(2)
    texts = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.3]])
    # image 0: own text 0 has .9, but text 2 has .9 too: the tie costs rank 2
    # image 1: own best .8, text 0 has .1: rank 1
    # texts 0 and 1 are nearest to their images; text 2 is nearer to image 0
    recall = recall_of(images, texts, np.array([0, 1, 1]), (1, 2))
    assert recall == {
        'i2t_r1': 50.0,
        'i2t_r2': 100.0,
        't2i_r1': pytest.approx(200 / 3),
        't2i_r2': 100.0,
    }


def test_a_constant_model_recalls_nothing():
    ones = np.ones((20, 4), dtype=np.float32) / 2
    recall = recall_of(ones, ones, np.arange(20))
    assert set(recall.values()) == {0.0}


@pytest.mark.parametrize('dim', [8, 33, 512])
def test_equal_embeddings_tie_in_any_chunk(dim):
    # two copies of every image and text: none is ever retrieved first,
    # however the products are blocked
    rng = np.random.default_rng(dim)
    images = np.tile(_unit(rng, 23, dim), (2, 1))
    texts = images[::-1].copy()
    owner = np.arange(46)[::-1].copy()
    for chunk_size in (1, 5, 46):
        recall = recall_of(images, texts, owner, (1, 2), chunk_size=chunk_size)
        assert list(recall.values()) == [0, 100, 0, 100]


def test_against_brute_force_with_ties_and_images_without_text():
    rng = np.random.default_rng(1)
    # few distinct values, so that ties are common
    images = rng.integers(-2, 3, (30, 3)).astype(np.float32)
    texts = rng.integers(-2, 3, (70, 3)).astype(np.float32)
    owner = rng.integers(0, 25, 70)  # images 25 to 29 have no text
    expected = _brute_force(images, texts, owner)
    assert (expected[0] == 0).sum() >= 5
    ks = range(1, 71)
    for chunk_size in (1, 7, 100):
        recall = recall_of(images, texts, owner, ks, chunk_size=chunk_size)
        for name, ranks in zip(('i2t', 't2i'), expected):
            for k in ks:
                hits = ranks[ranks > 0] <= k
                assert recall[f'{name}_r{k}'] == 100 * hits.mean()


def test_against_open_clip():
    torch = pytest.importorskip('torch')
    train = pytest.importorskip('open_clip_train.train')
    rng = np.random.default_rng(2)
    images = _unit(rng, 200, 16)
    texts = images + 2 * _unit(rng, 200, 16)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    reference = train.get_clip_metrics(
        torch.from_numpy(images), torch.from_numpy(texts), torch.tensor(1.0)
    )
    recall = recall_of(images, texts, np.arange(200))
    assert 10 < recall['i2t_r1'] < 100
    for key, name in (('i2t', 'image_to_text'), ('t2i', 'text_to_image')):
        for k in (1, 5, 10):
            assert recall[f'{key}_r{k}'] == pytest.approx(
                100 * reference[f'{name}_R@{k}']
            )


@pytest.mark.parametrize(
    ('images', 'texts', 'owner', 'message'),
    [
        (np.ones((2, 3)), np.ones((2, 4)), [0, 1], 'mismatch'),
        (np.ones((2, 3)), np.ones((0, 3)), [], '0 texts'),
        (np.ones((2, 3)), np.ones((2, 3)), [0, 2], 'there are 2 images'),
        (np.ones((2, 3)), np.ones((2, 3)), [0], '2 texts'),
        (np.array([[1.0], [np.nan]]), np.ones((2, 1)), [0, 1], 'NaN'),
    ],
)
def test_bad_input(images, texts, owner, message):
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(images, texts, np.array(owner, dtype=int))


def plain(queries, query_keys, regions, region_keys, topk):
    precisions, best = [], []
    for query, key in zip(queries, query_keys):
        scores = [float(np.float32(query @ region)) for region in regions]
        # of equal scores the wrong ones come first
        order = sorted(
            range(len(scores)),
            key=lambda i: (-scores[i], region_keys[i] == key),
        )
        right = [region_keys[i] == key for i in order]
        if not any(right):
            continue
        found = [
            sum(right[: n + 1]) / (n + 1)
            for n, each in enumerate(right)
            if each
        ]
        precisions.append(sum(found) / len(found))
        best.append(right.index(True) + 1)
    figures = {'mAP': 100 * np.mean(precisions)}
    for k in topk:
        figures[f'r{k}'] = 100 * np.mean([rank <= k for rank in best])
    return figures


def means(found):
    return {key: 100 * each.mean() for key, each in found.items()}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize('seed', range(3))
def test_against_loops(seed):
    rng = np.random.default_rng(seed)
    queries = unit(rng.normal(size=(9, 4)))
    keys = rng.permutation(20)[:9]
    region_keys = rng.choice(keys[:7], 50)  # two have no region
    places = [list(keys).index(key) for key in region_keys]
    regions = unit(queries[places] + rng.normal(size=(50, 4)))
    regions[10:20] = regions[0]  # ties
    expected = plain(queries, keys, regions, region_keys, (1, 5))
    pairs = np.stack([np.arange(50), region_keys], axis=1)
    found = region_retrieval(queries, keys, regions, pairs, (1, 5), 4)
    assert means(found) == pytest.approx(expected)
    assert 0 < expected['mAP'] < 100


def test_a_model_that_tells_nothing_apart_finds_nothing():
    regions = np.tile([[1.0, 0.0]], (10, 1))
    pairs = np.stack([np.arange(10), np.arange(10) // 5], axis=1)
    found = region_retrieval(regions[:2], np.arange(2), regions, pairs, (1, 6))
    # 5 wrong ones, then 5 right ones: the mean of 1/6, 2/7 ...
    expected = 100 * np.mean([n / (n + 5) for n in range(1, 6)])
    assert means(found) == pytest.approx(dict(mAP=expected, r1=0, r6=100))


def test_a_region_of_two_phrases_fits_both():
    rows = np.eye(3)
    pairs = np.array([[0, 5], [0, 6], [1, 6]])
    found = region_retrieval(
        rows[[0, 0]], np.array([5, 6]), rows, pairs, topk=(1,)
    )
    # 5: region 0 is first. 6: 0 is first, and 1 ties with the wrong 2
    expected = dict(mAP=100 * (1 + 5 / 6) / 2, r1=100)
    assert means(found) == pytest.approx(expected)


def test_what_cannot_be_ranked():
    rows = np.eye(2)
    with pytest.raises(ValueError, match='no phrase'):
        region_retrieval(rows, np.arange(2), rows, np.array([[0, 2]]))
    with pytest.raises(ValueError, match='not finite'):
        region_retrieval(rows * np.nan, np.arange(2), rows, np.array([[0, 1]]))
