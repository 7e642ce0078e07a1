"""What ``compare_methods.py`` runs: the recipe, the methods, the ablations.

Nothing here runs anything: a plan is a list of :class:`Run`, data alone.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Dict, List, Sequence, Tuple

# Config of each method, relative to the repository, in the order of tables.
METHODS = {
    'clip': 'configs/baselines/clip_tiny_shapes.py',
    'regionclip': 'configs/baselines/regionclip_tiny_shapes.py',
    'clipself': 'configs/baselines/clipself_tiny_shapes.py',
    'fineclip': 'configs/baselines/fineclip_tiny_shapes.py',
    'harmoclip': 'configs/harmoclip_tiny_shapes.py',
}
# Where a method has another config for the pre-trained start.
FINE_TUNING = {'harmoclip': 'configs/harmoclip_tiny_shapes_finetune.py'}
METHOD_NAMES = {
    'clip': 'CLIP',
    'regionclip': 'RegionCLIP',
    'clipself': 'CLIPSelf',
    'fineclip': 'FineCLIP',
    'harmoclip': 'HarmoCLIP',
}
STARTS = ('pretrained', 'scratch')
SPLITS = ('val', 'test')
DEFAULT, PRETRAINING = 'default', 'pretraining'


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
        """dict: Options of ``shapes.py``."""
        names = ('train', 'val', 'test', 'size', 'objects', 'scale')
        names += ('details', 'textures')
        return {**{name: getattr(self, name) for name in names}, 'seed': 0}

    @property
    def model(self) -> Dict[str, Any]:
        """dict: Options of the configs that every run shares."""
        return {
            'model.backbone.img_size': self.size,
            'model.backbone.patch_size': self.patch,
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
        method (str): A key of ``METHODS``.
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
    def config(self) -> str:
        """str: Config file, relative to the repository."""
        if self.start == 'pretrained' and self.method in FINE_TUNING:
            return FINE_TUNING[self.method]
        return METHODS[self.method]

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


def _weights(**weights: float) -> Dict[str, float]:
    """Options that set the weights of heads."""
    return {
        f'model.heads.{head}.loss.loss_weight': weight
        for head, weight in weights.items()
    }


# Weights of LRC and GR that are tried, and those of the config.
WEIGHTS, LRC_WEIGHT, GR_WEIGHT = (0.25, 0.5, 1.0, 2.0), 0.5, 1.0
TEXT, CROP = {'model.heads.gr.mode': 'text'}, {'model.heads.gr.mode': 'crop'}

# Title of each table: its rows, variants of HarmoCLIP. `default` is the
# config as it is, `gc` the method clip: both stand in the main table too.
GC = Variant('gc', text='GC')
ALL = Variant(DEFAULT, text='GC + LRC + GR(text and crop) (default)')
GR_ALONE = Variant('gr', without=['lrc'], text='GC + GR(text and crop)')
ABLATIONS: Dict[str, List[Variant]] = {
    'Losses': [
        GC,
        Variant('lrc', without=['gr'], text='GC + LRC'),
        Variant('gr-text', TEXT, without=['lrc'], text='GC + GR(text)'),
        Variant('gr-crop', CROP, without=['lrc'], text='GC + GR(crop)'),
        GR_ALONE,
        Variant('lrc-gr-text', TEXT, text='GC + LRC + GR(text)'),
        ALL,
    ],
    'Crops of GR': [
        replace(ALL, text='encoded by the model, with gradient (default)'),
        *(
            Variant(
                f'crops-{encoder}',
                {'model.heads.gr.crop_encoder': encoder},
                text=text,
            )
            for encoder, text in (
                ('detached', 'by the model, without gradient'),
                ('teacher', 'by the start'),
            )
        ),
    ],
    'Same total weight of the region losses': [
        replace(GR_ALONE, text='GR alone, 1'),
        Variant('gr-weight-0.5', _weights(gr=0.5), text='LRC 0.5 + GR 0.5'),
        Variant(
            'gr-1.5',
            _weights(gr=1.5),
            without=['lrc'],
            text='GR alone, 1.5',
        ),
        replace(ALL, text='LRC 0.5 + GR 1 (default)'),
        Variant(
            'gr-2',
            _weights(gr=2.0),
            without=['lrc'],
            text='GR alone, 2',
        ),
        Variant('lrc-weight-1', _weights(lrc=1.0), text='LRC 1 + GR 1'),
    ],
    'LRC': [
        replace(ALL, text='positives by phrase, own temperature, lexeme of '
                'the caption (default)'),
        Variant(
            'positives-pair',
            {'model.heads.lrc.loss.positives': 'pair'},
            text='one positive a pair',
        ),
        Variant(
            'temperature-shared',
            {'model.heads.lrc.temperature': 'shared'},
            text="CLIP's temperature",
        ),
        Variant(
            'lexeme-alone',
            transforms=[dict(type='DetachPhrases')],
            text='lexeme of the phrase read alone',
        ),
    ],
    'Temperature of GR': [
        replace(ALL, text='own (default)'),
        Variant(
            'gr-temperature-shared',
            {'model.heads.gr.temperature': 'shared'},
            text="CLIP's",
        ),
    ],
    'Towers': [
        replace(ALL, text='dense map of values, text tower trained '
                '(default)'),
        Variant(
            'dense-token',
            {'model.backbone.dense_mode': 'token'},
            text='dense map of tokens',
        ),
        Variant(
            'text-frozen',
            {'model.text_encoder.frozen': True},
            text='text tower frozen',
        ),
    ],
    'Weight of LRC': [
        Variant(
            DEFAULT if w == LRC_WEIGHT else f'lrc-weight-{w:g}',
            {} if w == LRC_WEIGHT else _weights(lrc=w),
            text=f'{w:g}',
        )
        for w in WEIGHTS
    ],
    'Weight of GR': [
        Variant(
            DEFAULT if w == GR_WEIGHT else f'gr-weight-{w:g}',
            {} if w == GR_WEIGHT else _weights(gr=w),
            text=f'{w:g}',
        )
        for w in WEIGHTS
    ],
    'Regions linked wrongly': [
        replace(ALL, text='0 %'),
        *(
            Variant(
                f'mislinked-{prob:g}',
                transforms=[dict(type='MislinkRegions', prob=prob)],
                text=f'{prob:.0%}'.replace('%', ' %'),
            )
            for prob in (0.2, 0.5)
        ),
    ],
    'Captions with regions': [
        *(
            Variant(
                f'regions-of-{share:g}',
                transforms=[dict(type='KeepRegionsOfSome', share=share)],
                text=f'{share:.0%}'.replace('%', ' %'),
            )
            for share in (0.1, 0.3)
        ),
        replace(ALL, text='100 %'),
    ],
}  # fmt: skip


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


def ablation_runs(recipe: Recipe, seed: int) -> List[Run]:
    """The fine-tunings of the ablations, each once, without those of the
    main table."""
    seen = {GC.name, DEFAULT}
    runs = []
    for variants in ABLATIONS.values():
        for variant in variants:
            if variant.name in seen:
                continue
            seen.add(variant.name)
            runs.append(
                Run(
                    'harmoclip', 'pretrained', seed, variant,
                    recipe.tune_steps, recipe.tune_lr,
                )
            )  # fmt: skip
    return runs


def describe(recipe: Recipe) -> Dict[str, Any]:
    """A recipe as plain data."""
    return asdict(recipe)
