"""Hand-derived ranges, numpy's histogram and scipy's interval."""

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import (
    COCO_AREAS,
    FINE_SIDES,
    box_areas,
    count_hits_by_area,
    wilson_interval,
)


def test_areas_of_coco():
    """Each box is in exactly one range, which begins with its lower end."""
    edges = [low for low, _ in COCO_AREAS.values()]
    areas = [0, 1023.9, 1024, 9215, 9216, 1e6]
    correct = [True, False, True, True, False, True]
    hits, counts = count_hits_by_area(areas, correct, edges)
    assert counts.tolist() == [2, 2, 2] and hits.tolist() == [1, 2, 1]


def test_ends_are_those_of_pycocotools():
    cocoeval = pytest.importorskip('pycocotools.cocoeval')
    params = cocoeval.Params('bbox')
    ranges = dict(zip(params.areaRngLbl, params.areaRng))
    for name, (low, high) in COCO_AREAS.items():
        theirs = ranges[name]
        assert theirs[0] == low
        assert theirs[1] == (1e5**2 if name == 'large' else high)
    assert {32, 96} <= set(FINE_SIDES) and list(FINE_SIDES) == sorted(
        FINE_SIDES
    )


def test_equals_numpys_histogram():
    rng = np.random.default_rng(0)
    areas, correct = rng.random(1000) * 4e5, rng.random(1000) < 0.5
    edges = np.square(FINE_SIDES)
    hits, counts = count_hits_by_area(areas, correct, edges)
    ends = [*edges, 1e9]
    assert counts.tolist() == np.histogram(areas, ends)[0].tolist()
    assert hits.tolist() == np.histogram(areas[correct], ends)[0].tolist()


def test_box_areas():
    boxes = [[0, 0, 2, 3], [1, 1, 1, 5], [5, 5, 4, 4]]  # the last is no box
    assert box_areas(boxes).tolist() == [6, 0, 0]
    assert box_areas(np.zeros((0, 4))).shape == (0,)


def test_wilson_interval_equals_scipys():
    stats = pytest.importorskip('scipy.stats')
    for hits, count in [(0, 5), (5, 5), (3, 7), (480, 1000)]:
        theirs = stats.binomtest(hits, count).proportion_ci(method='wilson')
        ours = wilson_interval(np.array([hits]), np.array([count]))
        assert ours[0][0] == pytest.approx(theirs.low, abs=1e-7)
        assert ours[1][0] == pytest.approx(theirs.high, abs=1e-7)
    assert np.isnan(wilson_interval(np.array([0]), np.array([0]))).all()


@pytest.mark.parametrize(
    'areas, edges, message',
    [
        ([1.0, 2.0], [0], 'must both be'),
        ([1.0], [0, 0], 'must rise'),
        ([1.0], [], 'must rise'),
        ([1.0], [2], 'below the first edge'),
        ([float('nan')], [0], 'below the first edge'),
    ],
)
def test_bad_input(areas, edges, message):
    with pytest.raises(ValueError, match=message):
        count_hits_by_area(areas, [True], edges)
