"""The variants that ``compare.py --ablations`` runs, a table of data."""

from dataclasses import replace
from typing import Dict, List, Sequence

from .plan import DEFAULT, Recipe, Run, Variant


def _weights(**weights: float) -> Dict[str, float]:
    """Options that set the weights of heads."""
    return {
        f'model.heads.{head}.loss.loss_weight': weight
        for head, weight in weights.items()
    }


OURS = Variant(text='HarmoCLIP (GC + 1.25 GR + 0.25 LRC)')
GR_ALONE = Variant(
    'gr-1.5', _weights(gr=1.5), without=['lrc'], text='GC + 1.5 GR'
)


def _on(
    variant: Variant, name: str, transforms: Sequence[dict], **changes
) -> Variant:
    """A variant on other data."""
    name = name if variant.name == DEFAULT else f'{variant.name}-{name}'
    return replace(variant, name=name, transforms=transforms, **changes)


def _equal_weight(name: str, text: str, transforms: list) -> List[Variant]:
    """GC + GR, with GR at the weight of both, and HarmoCLIP."""
    alone, ours = GR_ALONE, replace(OURS, text='HarmoCLIP')
    return [
        _on(each, name, transforms, text=f'{text}, {each.text}')
        for each in (alone, ours)
    ]


def _wrong_links(prob: float) -> List[Variant]:
    """Links of which some are wrong: as they are, weighed by scores that
    tell something of it, and those of low score dropped."""
    links = dict(type='MislinkRegions', prob=prob)
    scored = dict(links, scored=True)
    dropped = dict(type='SampleRegions', min_score=0.5)
    name, share = f'mislinked-{prob:g}', f'{100 * prob:.0f} %'
    return [
        Variant(name, transforms=[links], text=f'{share} wrong'),
        Variant(
            f'{name}-weighed',
            transforms=[scored],
            text=f'{share} wrong, weighed by their scores',
        ),
        Variant(
            f'{name}-dropped',
            transforms=[scored, dropped],
            text=f'{share} wrong, weighed, below 0.5 dropped',
        ),
    ]


def _elided() -> List[Variant]:
    """Phrases that leave their colours to the caption: methods that read them
    alone, each against LRC, whose tokens have read the caption."""
    transforms = [dict(type='ElideColours')]
    ours = _on(OURS, 'elided', transforms, text='HarmoCLIP')
    others = [
        _on(GR_ALONE, 'elided', transforms),
        # a red and a blue "circle" would be positives of each other
        Variant(
            'phrase-elided',
            {'model.heads.lrc.positives': 'phrase'},
            transforms=transforms,
            text='HarmoCLIP, equal phrases as positives',
        ),
        Variant(
            'fineclip-elided',
            config='fineclip',
            transforms=transforms,
            text='FineCLIP',
        ),
        Variant(
            'fgclip-elided',
            config='fgclip',
            transforms=transforms,
            text='FG-CLIP',
        ),
    ]
    return [row for each in others for row in (each, ours)]


# Title of each table: its rows, variants of HarmoCLIP, in pairs, the second
# against the first...
PAIRS: Dict[str, List[Variant]] = {
    'Does LRC earn its place, at equal total weight?': [
        replace(GR_ALONE, text='all links right, GC + 1.5 GR'),
        replace(OURS, text='all links right, HarmoCLIP'),
        *_equal_weight(
            'mislinked-0.2',
            '20 % of the links wrong',
            [dict(type='MislinkRegions', prob=0.2)],
        ),
        *_equal_weight(
            'few',
            '10 % of the captions linked',
            [dict(type='KeepRegionsOfSome', share=0.1)],
        ),
    ],
    'And where phrases leave their colours to the caption?': _elided(),
}
_LIGHT = _weights(lrc=0.1, gr=0.5)
# ... and all against the first.
IDEAS: Dict[str, List[Variant]] = {
    'What scores of links buy': [
        OURS,
        *_wrong_links(0.2),
        *_wrong_links(0.5),
    ],
    'Weights of the losses': [
        OURS,
        Variant(
            'lrc-0.5',
            {
                **_weights(lrc=0.5, gr=1.0),
                'model.heads.lrc.positives': 'phrase',
            },
            text='GC + GR + 0.5 LRC, equal phrases as positives '
            '(default up to 0.6)',
        ),
        GR_ALONE,
        Variant(
            'lrc-1.5', _weights(lrc=1.5), without=['gr'], text='GC + 1.5 LRC'
        ),
        Variant('light', _LIGHT, text='GC + 0.5 GR + 0.1 LRC'),
    ],
    'Ideas to make novel boxes better': [
        OURS,
        Variant(
            'text-lr-0.1',
            {
                'optim_wrapper.paramwise_cfg.custom_keys': dict(
                    text_encoder=dict(lr_mult=0.1)
                ),
            },
            text='text tower at a tenth of the learning rate',
        ),
        Variant(
            'hard',
            config='harmoclip_hard',
            text='hard negatives by exchanged words, weight 0.5',
        ),
        Variant(
            'light-hard',
            _LIGHT,
            config='harmoclip_hard',
            text='the same, GR 0.5, LRC 0.1',
        ),
        Variant(
            'fit',
            {
                'model.heads.gr.weigh_fit': True,
                'model.crop_extractor': dict(type='CropFeatureExtractor'),
            },
            text="GR weighed by the start's fit of phrase and crop",
        ),
    ],
}
TABLES: Dict[str, List[Variant]] = {**PAIRS, **IDEAS}


def ablation_runs(recipe: Recipe, start: str, seed: int) -> List[Run]:
    """The fine-tunings of the tables, each once, without the default.

    Args:
        recipe (Recipe): The recipe.
        start (str): A key of ``STARTS``.
        seed (int): Seed of the start.

    Returns:
        list[Run]: The runs.
    """
    variants = {
        variant.name: variant
        for rows in TABLES.values()
        for variant in rows
        if variant.name != DEFAULT
    }
    return [
        Run(recipe, 'harmoclip', start, seed, variant)
        for variant in variants.values()
    ]
