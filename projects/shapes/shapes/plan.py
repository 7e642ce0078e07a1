"""What ``compare.py`` runs: the recipe and the methods.

Nothing here runs anything: a plan is a list of :class:`Run`, data alone.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .children import PROJECT

# The methods, by the names of their configs, in the order of tables.
METHOD_NAMES = {
    'clip': 'CLIP',
    'regionclip': 'RegionCLIP',
    'clipself': 'CLIPSelf',
    'fineclip': 'FineCLIP',
    'harmoclip': 'HarmoCLIP',
}
# Those that the quickstart compares.
QUICKSTART_NAMES = {key: METHOD_NAMES[key] for key in ('clip', 'harmoclip')}
# Where a method has another config for the pre-trained start.
FINE_TUNING = {'harmoclip': 'harmoclip_finetune'}
STARTS = ('pretrained', 'scratch')
SPLITS = ('val', 'test')
DEFAULT, PRETRAINING, BLENDED = 'default', 'pretraining', 'blended'
# Share of the trained weights in the blend with the start that a method's
# authors end with: CLIPSelf's code (arXiv 2310.01403) takes 0.7 for B/16.
BLENDS = {'clipself': 0.7}


def config_of(name: str) -> Path:
    """Config of the project, by its name."""
    return PROJECT / 'configs' / f'{name}.py'


@dataclass(frozen=True)
class Recipe:
    """How long and on what everything is trained; equal for all methods.

    Attributes:
        name (str): Name in the results.
        train, val, test (int): Images of the splits.
        size (int): Side of the images in px.
        patch (int): Side of the patches in px.
        objects (tuple[int]): Fewest and most objects of a scene.
        scale (float): Factor of the objects' sides.
        details (float): Probability that a phrase tells the size, and the
            same for the texture.
        textures (tuple[str]): Textures of the objects.
        batch_size (int): Images a step.
        pretrain_steps, tune_steps, scratch_steps (int): Steps of the
            pre-training, the fine-tunings, and the trainings from scratch.
        pretrain_lr, tune_lr, scratch_lr (float): Their peak learning rates.
        warmup (int): Steps of linear warm-up, at most a quarter of all.
    """

    name: str
    train: int = 24000
    val: int = 1000
    test: int = 1000
    size: int = 48
    patch: int = 8
    objects: Tuple[int, int] = (1, 2)
    scale: float = 1.6
    details: float = 0.4
    textures: Tuple[str, ...] = ('plain',)
    batch_size: int = 128
    pretrain_steps: int = 2000
    tune_steps: int = 300
    scratch_steps: int = 200
    pretrain_lr: float = 8e-4
    tune_lr: float = 6e-4
    scratch_lr: float = 1e-3
    warmup: int = 50

    @property
    def data(self) -> Dict[str, Any]:
        """dict: Options of ``make_data.py``."""
        names = ('train', 'val', 'test', 'size', 'objects', 'scale')
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
    'full': Recipe('full'),
    'quick': Recipe(
        'quick', train=6000, val=500, test=500,
        pretrain_steps=400, tune_steps=60, scratch_steps=60,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A method's config with other settings.

    Attributes:
        name (str): Name in the results, unique.
        options (dict): Settings that replace those of the config, keys
            dotted as in ``--cfg-options``.
        without (Sequence[str]): Heads that are taken away.
        transforms (Sequence[dict]): Put before ``TokenizeRegionText`` in the
            training pipeline.
        text (str): What it is, for the tables.
    """

    name: str
    options: Dict[str, Any] = field(default_factory=dict)
    without: Sequence[str] = ()
    transforms: Sequence[Dict[str, Any]] = ()
    text: str = ''


@dataclass(frozen=True)
class Run:
    """One training with its evaluation, or one evaluation.

    Attributes:
        method (str): A key of ``METHOD_NAMES``.
        start (str): One of ``STARTS``.
        seed (int): Seed of start, order of the images and training.
        variant (Variant): What differs from the method's config.
        steps (int): Steps of training.
        lr (float): Peak learning rate.
    """

    method: str
    start: str
    seed: int
    variant: Variant
    steps: int
    lr: float

    @property
    def name(self) -> str:
        """str: Name of the run's folder."""
        parts = (self.method, self.start, self.variant.name)
        return '-'.join([*parts, f'seed{self.seed}'])

    @property
    def config(self) -> Path:
        """Path: Config file."""
        if self.start == 'pretrained':
            return config_of(FINE_TUNING.get(self.method, self.method))
        return config_of(self.method)

    @property
    def blend(self) -> Optional[float]:
        """float or None: Share of the trained weights in the blend that is
        evaluated after the training, where the method has one."""
        if (self.start, self.variant.name) == ('pretrained', DEFAULT):
            return BLENDS.get(self.method)
        return None

    @property
    def outcomes(self) -> List['Run']:
        """list[Run]: What the results hold of this training: itself, and
        its blend where there is one."""
        if self.blend is None:
            return [self]
        return [self, replace(self, variant=Variant(BLENDED))]

    @property
    def options(self) -> Dict[str, Any]:
        """dict: Settings that replace those of the method's config. What a
        method freezes was trained before; from scratch all is trained."""
        frozen = {'model.frozen': []} if self.start == 'scratch' else {}
        return {**frozen, **self.variant.options}

    def identity(self, recipe: Recipe) -> Dict[str, Any]:
        """What tells this run's records from all others.

        Args:
            recipe (Recipe): The recipe it belongs to.

        Returns:
            dict: Fields of the record.
        """
        return {
            'method': self.method,
            'start': self.start,
            'variant': self.variant.name,
            'seed': self.seed,
            'recipe': recipe.name,
            'steps': self.steps,
            'lr': self.lr,
        }


def pretraining(recipe: Recipe, seed: int) -> Run:
    """The run that makes the start of a seed: a tiny CLIP, GC only."""
    return Run(
        'clip', 'scratch', seed, Variant(PRETRAINING),
        recipe.pretrain_steps, recipe.pretrain_lr,
    )  # fmt: skip


def main_runs(
    recipe: Recipe,
    seed: int,
    methods: Sequence[str],
    starts: Sequence[str] = STARTS,
) -> List[Run]:
    """The runs of the main table for a seed, those from the start first."""
    lengths = {
        'pretrained': (recipe.tune_steps, recipe.tune_lr),
        'scratch': (recipe.scratch_steps, recipe.scratch_lr),
    }
    return [
        Run(method, start, seed, Variant(DEFAULT), *lengths[start])
        for start in STARTS
        if start in starts
        for method in methods
    ]
