"""What the results of ``compare.py`` say about HarmoCLIP's claim."""

import statistics
from typing import Dict, List, Sequence, Tuple

from .plan import DEFAULT, METHOD_NAMES
from .tables import Record, select

# The two sides of the trade-off: box Top-1 and mean retrieval R@1.
LOCAL, GLOBAL, NOVEL = 'box_top1', 'retrieval_mean_r1', 'box_top1_novel'
OURS, CONTROL = 'harmoclip', 'clip'


def tuned(records: Sequence[Record], method: str) -> List[Record]:
    """Records of a method fine-tuned from the pre-trained start."""
    return select(records, method=method, start='pretrained', variant=DEFAULT)


def on_front(points: Sequence[Tuple[float, float]]) -> List[bool]:
    """Which points no other point dominates.

    Args:
        points (Sequence[tuple]): Pairs of scores, larger is better.

    Returns:
        list[bool]: True where no other point is at least as good in both
        scores and better in one.
    """
    return [
        not any(
            other[0] >= point[0]
            and other[1] >= point[1]
            and tuple(other) != tuple(point)
            for other in points
        )
        for point in points
    ]


def seeds_on_front(records: Sequence[Record]) -> Dict[int, bool]:
    """Whether HarmoCLIP is on the Pareto front of box Top-1 against mean
    R@1, for each seed that all fine-tuned methods have.

    Args:
        records (Sequence[dict]): Of one recipe and split.

    Returns:
        dict[int, bool]: The verdict by seed.
    """
    by_seed: Dict[int, Dict[str, Tuple[float, float]]] = {}
    for method in METHOD_NAMES:
        for each in tuned(records, method):
            points = by_seed.setdefault(each['seed'], {})
            points[method] = (each[LOCAL], each[GLOBAL])
    verdicts = {}
    for seed, points in sorted(by_seed.items()):
        if set(points) == set(METHOD_NAMES):
            front = on_front(list(points.values()))
            verdicts[seed] = front[list(points).index(OURS)]
    return verdicts


def _spread(values: Sequence[float]) -> Tuple[float, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.fmean(values), deviation


def gaps_by_seed(
    ours: Sequence[Record], theirs: Sequence[Record]
) -> List[float]:
    """By how much novel boxes gain, from the same start each.

    Args:
        ours, theirs (Sequence[dict]): Records of two methods.

    Returns:
        list[float]: Differences in points, in the order of the seeds that
        both have.
    """
    values = [
        {each['seed']: each[NOVEL] for each in of} for of in (ours, theirs)
    ]
    return [
        values[0][seed] - values[1][seed]
        for seed in sorted(values[0].keys() & values[1].keys())
    ]


def judge(records: Sequence[Record]) -> List[str]:
    """Hold the results against the claim, one sentence a part of it.

    A difference counts where it is larger than the larger of the two
    standard deviations over the seeds; of one seed there is none, and no
    verdict.

    Args:
        records (Sequence[dict]): Of one recipe and split.

    Returns:
        list[str]: The sentences; empty while a method has no result.
    """
    found = {method: tuned(records, method) for method in METHOD_NAMES}
    if not all(found.values()):
        return []
    verdicts = seeds_on_front(records)
    sentences = [
        'Pareto front of box Top-1 against mean R@1: HarmoCLIP is on it for '
        f'{sum(verdicts.values())} of {len(verdicts)} seeds.'
    ]
    ours = _spread([each[NOVEL] for each in found[OURS]])
    for method, name in METHOD_NAMES.items():
        if method == OURS:
            continue
        theirs = _spread([each[NOVEL] for each in found[method]])
        gap = ours[0] - theirs[0]
        verdict = 'one seed does not tell'
        if min(len(found[OURS]), len(found[method])) > 1:
            clear = gap > max(ours[1], theirs[1])
            verdict = 'clearly above' if clear else 'not clearly above'
        by_seed = gaps_by_seed(found[OURS], found[method])
        sentences.append(
            f'Box Top-1 (novel): HarmoCLIP {ours[0]:.1f}, {name} '
            f'{theirs[0]:.1f}, {gap:+.1f} (by seed '
            f'{", ".join(f"{each:+.1f}" for each in by_seed)}): {verdict}.'
        )
    ours = _spread([each[GLOBAL] for each in found[OURS]])
    control = _spread([each[GLOBAL] for each in found[CONTROL]])
    gap = ours[0] - control[0]
    verdict = 'one seed does not tell'
    if min(len(found[OURS]), len(found[CONTROL])) > 1:
        kept = gap >= -max(ours[1], control[1])
        verdict = f'retrieval is {"kept" if kept else "not kept"}'
    sentences.append(
        f'Mean R@1: HarmoCLIP {ours[0]:.1f}, CLIP {control[0]:.1f}, '
        f'{gap:+.1f}: {verdict}.'
    )
    return sentences
