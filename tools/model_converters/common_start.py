"""Make one random start for several methods, so that they can be compared.

    python tools/model_converters/common_start.py CONFIG... --out start.pth

initialises the towers of the first config and writes their weights. Every
config must build the same towers; their heads may differ and are left out.
Train from it with ``--cfg-options load_from=start.pth``.
"""

import argparse
from pathlib import Path
from typing import Dict

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from torch import Tensor

from harmoclip_mm.apis import UsageError, load_config, run_command
from harmoclip_mm.models.checkpoints import HEADS, TEACHER
from harmoclip_mm.registry import MODELS


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write randomly initialised towers for several configs.'
    )
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument(
        '--out', type=Path, required=True, help='checkpoint to write'
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    return parser.parse_args()


def build_towers(config: Config, seed: int) -> Dict[str, Tensor]:
    """Build and initialise the model of a config.

    Returns:
        dict[str, Tensor]: Its weights without those of heads and teacher.
    """
    init_default_scope(config.get('default_scope', 'harmoclip_mm'))
    set_random_seed(seed)
    model = MODELS.build(config.model)
    model.init_weights()
    return {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith((*HEADS, TEACHER))
    }


def find_difference(ours: Dict[str, Tensor], theirs: Dict[str, Tensor]) -> str:
    """Name a weight that only one model has, or of another shape; or ''."""
    for key in [*ours, *theirs]:
        shapes = [
            tuple(weights[key].shape) if key in weights else 'absent'
            for weights in (ours, theirs)
        ]
        if shapes[0] != shapes[1]:
            return f'{key} is {shapes[0]} in the first, {shapes[1]} here'
    return ''


def main() -> None:
    """Write the checkpoint."""
    args = parse_args()
    first, *others = args.configs
    weights = build_towers(load_config(first), args.seed)
    for other in others:
        towers = build_towers(load_config(other), args.seed)
        difference = find_difference(weights, towers)
        if difference:
            raise UsageError(
                f'{other} builds other towers than {first}, so they cannot '
                f'share a start: {difference}'
            )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': weights}, args.out)
    count = sum(value.numel() for value in weights.values())
    print(f'{count / 1e6:.2f} M weights in {args.out}')


if __name__ == '__main__':
    run_command(main)
