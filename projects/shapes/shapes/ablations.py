"""The ablations that ``compare.py`` runs, a table of data."""

from dataclasses import replace
from typing import Any, Dict, List

from .plan import DEFAULT, Recipe, Run, Variant


def _weights(**weights: float) -> Dict[str, float]:
    """Options that set the weights of heads."""
    return {
        f'model.heads.{head}.loss.loss_weight': weight
        for head, weight in weights.items()
    }


# Weights of LRC and GR that are tried, and those of the config.
WEIGHTS, LRC_WEIGHT, GR_WEIGHT = (0.25, 0.5, 1.0, 2.0), 0.5, 1.0


def _weight_rows(head: str, chosen: float) -> List[Variant]:
    """The weights of a head that are tried; the config has the chosen one."""
    return [
        Variant(DEFAULT, text=f'{weight:g}')
        if weight == chosen
        else Variant(
            f'{head}-weight-{weight:g}',
            _weights(**{head: weight}),
            text=f'{weight:g}',
        )
        for weight in WEIGHTS
    ]


def _crops(mode: str, encoder: str) -> Dict[str, Any]:
    """Options that let GR read crops, whose context is FineCLIP's."""
    return {
        'model.heads.gr.mode': mode,
        'model.heads.gr.crop_encoder': encoder,
        'model.crop_extractor': dict(type='CropFeatureExtractor', context=1.5),
    }


# Title of each table: its rows, variants of HarmoCLIP. `default` is the
# config as it is, `gc` the method clip: both stand in the main table too.
GC = Variant('gc', text='GC')
ALL = Variant(DEFAULT, text='GC + LRC + GR(text) (default)')
GR_ALONE = Variant('gr', without=['lrc'], text='GC + GR(text)')
BOTH = Variant(
    'both', _crops('both', 'online'), text='GC + LRC + GR(text and crop)'
)
LRC_ALONE = Variant('lrc', without=['gr'], text='GC + LRC')
# What the method stands on is measured from every start, the rest from one.
EVERY_SEED = [GC, LRC_ALONE, GR_ALONE, BOTH, ALL]
ABLATED_SEED = 0
ABLATIONS: Dict[str, List[Variant]] = {
    'Losses, every start': EVERY_SEED,
    'Losses': [
        GC,
        LRC_ALONE,
        GR_ALONE,
        Variant(
            'gr-crop',
            _crops('crop', 'online'),
            without=['lrc'],
            text='GC + GR(crop)',
        ),
        Variant(
            'gr-both',
            _crops('both', 'online'),
            without=['lrc'],
            text='GC + GR(text and crop)',
        ),
        BOTH,
        ALL,
    ],
    'Crops of GR': [
        replace(ALL, text='none (default)'),
        replace(BOTH, text='encoded by the model, with gradient'),
        *(
            Variant(f'both-{encoder}', _crops('both', encoder), text=text)
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
    'Weight of LRC': _weight_rows('lrc', LRC_WEIGHT),
    'Weight of GR': _weight_rows('gr', GR_WEIGHT),
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
    'Regions linked wrongly, with scores': [
        *(
            Variant(
                f'mislinked-{prob:g}-{name}',
                transforms=[
                    dict(type='MislinkRegions', prob=prob, scored=True),
                    *more,
                ],
                text=f'{prob:.0%}, {text}'.replace('%', ' %'),
            )
            for prob in (0.2, 0.5)
            for name, text, more in (
                ('weighed', 'weighed', []),
                (
                    'dropped',
                    'weighed, below 0.7 dropped',
                    [dict(type='SampleRegions', min_score=0.7)],
                ),
            )
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


def ablation_runs(recipe: Recipe, seed: int) -> List[Run]:
    """The fine-tunings of the ablations, each once, without those of the
    main table.

    Args:
        recipe (Recipe): The recipe.
        seed (int): Seed of the start. ``ABLATED_SEED`` has all ablations,
            others have ``EVERY_SEED`` only.

    Returns:
        list[Run]: The runs.
    """
    seen = {GC.name, DEFAULT}
    runs = []
    everything = seed == ABLATED_SEED
    for variants in ABLATIONS.values() if everything else [EVERY_SEED]:
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
