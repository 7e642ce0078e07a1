"""Regions by phrase, against plain loops."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import region_retrieval


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
