"""Figures as means of units, and intervals of their differences."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import (
    Units,
    bootstrap_difference,
    mean_of_units,
)


def make(seed, share, images=200):
    """Up to 6 boxes of 5 classes in each image; some images have none."""
    rng = np.random.default_rng(0)
    place = np.repeat(np.arange(images), rng.integers(0, 7, images))
    kinds = rng.integers(0, 5, len(place))
    hits = np.random.default_rng(seed).random(len(place)) < share
    return Units(place, hits, kinds)


def figure(place, hits, kinds, weights):
    """By loops over classes."""
    own = weights[place]
    return 100 * np.mean(
        [
            (own * hits)[kinds == kind].sum() / own[kinds == kind].sum()
            for kind in np.unique(kinds)
        ]
    )


@pytest.mark.parametrize('macro', [False, True])
def test_against_a_plain_bootstrap(macro):
    first, second = make(1, 0.4), make(2, 0.5)
    kinds = first.kinds if macro else np.zeros(len(first.images))
    if not macro:
        first, second = (each._replace(kinds=None) for each in (first, second))
    ones = np.ones(200)
    expected = figure(first.images, first.values, kinds, ones)
    assert mean_of_units(first) == pytest.approx(expected)
    filled = np.unique(first.images)
    rng = np.random.default_rng(7)
    found = []
    for _ in range(2000):
        drawn = rng.choice(filled, len(filled))
        weights = np.bincount(drawn, minlength=200).astype(float)
        found.append(
            figure(second.images, second.values, kinds, weights)
            - figure(first.images, first.values, kinds, weights)
        )
    expected = np.percentile(found, [2.5, 97.5])
    interval = bootstrap_difference(first, second, draws=2000)
    assert interval == pytest.approx(expected, abs=0.6)
    assert interval[0] < 10 < interval[1]


def test_equal_models_do_not_differ():
    units = make(1, 0.4)
    assert bootstrap_difference(units, units) == (0, 0)
    swapped = Units(units.images[::-1], units.values[::-1], units.kinds[::-1])
    assert bootstrap_difference(units, swapped) == pytest.approx((0, 0))


def test_other_images_are_refused():
    with pytest.raises(ValueError, match='same images'):
        bootstrap_difference(make(1, 0.4), make(1, 0.4, images=99))
