"""Figures as means of units, and intervals of their differences."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import (
    Units,
    bootstrap,
    interval_of_difference,
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
    once = np.ones((1, first.num_images))
    expected = figure(first.images, first.values, kinds, once[0])
    assert first.figures(once) == pytest.approx([expected])
    rng = np.random.default_rng(7)
    found = []
    for _ in range(2000):
        drawn = rng.choice(first.num_images, first.num_images)
        weights = np.bincount(drawn, minlength=200).astype(float)
        found.append(
            figure(second.images, second.values, kinds, weights)
            - figure(first.images, first.values, kinds, weights)
        )
    expected = np.percentile(found, [2.5, 97.5])
    draws = [bootstrap(each, draws=2000) for each in (first, second)]
    interval = interval_of_difference(*draws)
    assert interval == pytest.approx(expected, abs=0.6)
    assert interval[0] < 10 < interval[1]


def test_models_are_compared_on_the_same_images():
    units = make(1, 0.4)
    swapped = Units(units.images[::-1], units.values[::-1], units.kinds[::-1])
    draws = bootstrap(units), bootstrap(swapped)
    assert interval_of_difference(*draws) == pytest.approx((0, 0))
    assert draws[0].std() > 1


def test_draws_without_any_unit_are_left_out():
    """The only box of two is in one image."""
    units = Units(np.array([1]), np.array([True]))
    found = bootstrap(units, draws=100)
    assert set(found[~np.isnan(found)]) == {100} and np.isnan(found).any()
    assert interval_of_difference(found, found) == (0, 0)
