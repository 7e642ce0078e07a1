"""Schedules that do not fit their training."""

from typing import Any


def outlasting_warm_up(schedulers: Any, steps: int, total: int) -> str:
    """Say whether a warm-up outlasts its training.

    Returns:
        str: A sentence; empty if it does not.
    """
    if isinstance(schedulers, dict):
        schedulers = [schedulers]
    for each in schedulers or ():
        if not isinstance(each, dict) or 'Linear' not in str(each['type']):
            continue
        end = each.get('end', 0) * (steps if each.get('by_epoch', True) else 1)
        if each.get('start_factor', 1 / 3) < 1 and end >= total:
            return (
                f'the warm-up of {end} steps outlasts the training of {total} '
                'steps: lower `end` of the LinearLR in param_scheduler'
            )
    return ''
