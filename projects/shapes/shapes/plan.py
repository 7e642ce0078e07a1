"""What ``compare.py`` runs: recipes, methods and variants of them.

Nothing here runs anything: a plan is a list of :class:`Run`, data alone.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from .children import PROJECT

# The methods, by the names of their configs, in the order of tables.
METHOD_NAMES = {
    'clip': 'CLIP',
    'regionclip': 'RegionCLIP',
    'clipself': 'CLIPSelf',
    'clim': 'CLIM',
    'fineclip': 'FineCLIP',
    'fgclip': 'FG-CLIP',
    'sffclip': 'SFF-CLIP',
    'harmoclip': 'HarmoCLIP',
}
# Those that the quickstart compares.
QUICKSTART_NAMES = {key: METHOD_NAMES[key] for key in ('clip', 'harmoclip')}
# Where a method has another config for a trained start.
FINE_TUNING = {'harmoclip': 'harmoclip_finetune'}
DEFAULT, PRETRAINING = 'default', 'pretraining'
# Shares of the trained weights in the blends with the start (WiSE-FT, arXiv
# 2109.01903). CLIPSelf's code (arXiv 2310.01403) ends with 0.7 for B/16.
SHARES = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0)


@dataclass(frozen=True)
class Start:
    """What a start is trained with.

    Attributes:
        options (dict): Settings of all runs from it.
        longer (int): Times the recipe's steps. Defaults to 1.
    """

    options: Dict[str, Any] = field(default_factory=dict)
    longer: int = 1


STARTS = {
    'clip': Start(),
    # A CLIP with a bias is SigLIP's, whose first scale and bias these are
    # (arXiv 2303.15343). It learns more slowly: after as many steps as the
    # other its starts classify 28 % of the crops.
    'siglip': Start(
        {
            'clip.init_logit_scale': math.log(10),
            'clip.init_logit_bias': -10.0,
        },
        longer=3,
    ),
}


def config_of(name: str) -> Path:
    """Config of the project, by its name."""
    return PROJECT / 'configs' / f'{name}.py'


@dataclass(frozen=True)
class Recipe:
    """How long and on what everything is trained; equal for all methods.

    Attributes:
        name (str): Name in the results.
        world (str): What is drawn, ``'shapes'`` or ``'glyphs'``.
        train, val, test (int): Images of the splits.
        size (int): Side of the images in px.
        patch (int): Side of the patches in px.
        objects (tuple[int]): Fewest and most objects of a scene.
        scale (float): Factor of the objects' sides.
        details (float): Probability that a phrase tells the size, and the
            same for the texture.
        textures (tuple[str]): Textures of the objects.
        batch_size (int): Images a step.
        pretrain_steps, tune_steps (int): Steps of the starts and of the
            fine-tunings.
        pretrain_lr, tune_lr (float): Their peak learning rates.
        warmup (int): Steps of linear warm-up, at most a quarter of all.
        ema_momentum (float): What each step adds to the averaged weights.
    """

    name: str
    world: str = 'shapes'
    train: int = 24000
    val: int = 1000
    test: int = 5000
    size: int = 48
    patch: int = 12
    objects: Tuple[int, int] = (1, 2)
    scale: float = 1.6
    details: float = 0.4
    textures: Tuple[str, ...] = ('plain',)
    batch_size: int = 128
    pretrain_steps: int = 1500
    tune_steps: int = 150
    pretrain_lr: float = 1.5e-3
    tune_lr: float = 6e-4
    warmup: int = 50
    ema_momentum: float = 0.02

    @property
    def data(self) -> Dict[str, Any]:
        """dict: Options of ``make_data.py``."""
        names = ('world', 'train', 'val', 'test', 'size', 'objects', 'scale')
        names += ('details', 'textures')
        return {**{name: getattr(self, name) for name in names}, 'seed': 0}

    @property
    def model(self) -> Dict[str, Any]:
        """dict: Options of the configs that every run shares."""
        return {
            'clip.vision_cfg.image_size': self.size,
            'clip.vision_cfg.patch_size': self.patch,
            'train_dataloader.batch_size': self.batch_size,
        }


RECIPES = {
    each.name: each
    for each in (
        Recipe('shapes'),
        # letters take longer to read: after 1500 steps a start classifies 29 %
        # of the crops
        Recipe('glyphs', world='glyphs', pretrain_steps=4000),
        Recipe(
            'quick', train=6000, val=500, test=500,
            pretrain_steps=400, tune_steps=60,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A method's config with other settings.

    Attributes:
        name (str): Name in the results, unique.
        options (dict): Settings that replace those of the config, keys
            dotted as in ``--cfg-options``.
        without (Sequence[str]): Heads that are taken away.
        transforms (Sequence[dict]): Put before the work on texts in the
            training pipeline.
        config (str): Config in place of the method's. Defaults to none.
        text (str): What it is, for the tables.
    """

    name: str = DEFAULT
    options: Dict[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()
    transforms: Sequence[Dict[str, Any]] = ()
    config: str = ''
    text: str = ''


@dataclass(frozen=True)
class Run:
    """One training with its evaluation.

    Attributes:
        recipe (Recipe): The recipe.
        method (str): A key of ``METHOD_NAMES``.
        start (str): A key of ``STARTS``.
        seed (int): Seed of start, order of the images and training.
        variant (Variant): What differs from the method's config.
    """

    recipe: Recipe
    method: str
    start: str
    seed: int
    variant: Variant = Variant()

    @property
    def is_start(self) -> bool:
        """bool: Whether it makes a start, and has none."""
        return self.variant.name == PRETRAINING

    @property
    def steps(self) -> int:
        """int: Steps of training."""
        if self.is_start:
            return self.recipe.pretrain_steps * STARTS[self.start].longer
        return self.recipe.tune_steps

    @property
    def lr(self) -> float:
        """float: Peak learning rate."""
        recipe = self.recipe
        return recipe.pretrain_lr if self.is_start else recipe.tune_lr

    @property
    def name(self) -> str:
        """str: Name of the run's folder."""
        parts = (self.method, self.start, self.variant.name)
        return '-'.join([*parts, f'seed{self.seed}'])

    @property
    def config(self) -> Path:
        """Path: Config file."""
        if self.is_start:
            return config_of(self.method)
        tuned = FINE_TUNING.get(self.method, self.method)
        return config_of(self.variant.config or tuned)

    @property
    def options(self) -> Dict[str, Any]:
        """dict: Settings that replace those of the method's config."""
        start = STARTS[self.start].options
        return {**self.recipe.model, **start, **self.variant.options}

    @property
    def identity(self) -> Dict[str, Any]:
        """dict: What tells this run's record from all others."""
        return {
            'recipe': self.recipe.name,
            'start': self.start,
            'method': self.method,
            'variant': self.variant.name,
            'seed': self.seed,
            'steps': self.steps,
            'lr': self.lr,
        }


def pretraining(recipe: Recipe, start: str, seed: int) -> Run:
    """The run that makes the start of a seed: a tiny CLIP, GC only."""
    return Run(recipe, 'clip', start, seed, Variant(PRETRAINING))


def main_runs(
    recipe: Recipe, start: str, seed: int, methods: Sequence[str]
) -> List[Run]:
    """The start of a seed and every method's fine-tuning of it."""
    return [
        pretraining(recipe, start, seed),
        *(Run(recipe, method, start, seed) for method in methods),
    ]
