"""The variants that ``compare.py --ablations`` runs, a table of data."""

from dataclasses import replace
from typing import Dict, List, Sequence

from .plan import DEFAULT, FORMER_NAME, Recipe, Run, Variant


def _weights(**weights: float) -> Dict[str, float]:
    """Options that set the weights of heads."""
    return {
        f'model.heads.{head}.loss.loss_weight': weight
        for head, weight in weights.items()
    }


# HarmoCLIP's defaults up to version 0.6, which many runs are of.
_FORMER = {
    **_weights(lrc=0.5, gr=1.0),
    'model.heads.lrc.positives': 'phrase',
}
_LEXEME = {'model.heads.lrc.positives': 'lexeme'}
ALL = Variant(text='GC + 1.25 GR + 0.25 LRC (default)')
FORMER = Variant(FORMER_NAME, _FORMER, text='GC + GR + 0.5 LRC (up to 0.6)')


def _gr_alone(
    name: str, text: str, transforms: Sequence[dict] = ()
) -> Variant:
    """GC + GR, with GR at the weight of LRC and GR."""
    return Variant(
        f'gr-1.5{name}',
        _weights(gr=1.5),
        without=['lrc'],
        transforms=transforms,
        text=f'{text}GC + 1.5 GR',
    )


def _equal_weight(
    name: str, text: str, transforms: Sequence[dict]
) -> List[Variant]:
    """GC + GR + LRC, and GC + GR with GR at the weight of both."""
    return [
        _gr_alone(name, f'{text}, ', transforms),
        Variant(
            f'all{name}',
            _FORMER,
            transforms=transforms,
            text=f'{text}, GC + GR + 0.5 LRC',
        ),
    ]


def _wrong_links(prob: float) -> List[Variant]:
    """Links of which some are wrong: as they are, weighed by scores that
    tell something of it, and those of low score dropped."""
    links = dict(type='MislinkRegions', prob=prob)
    scored = dict(links, scored=True)
    dropped = dict(type='SampleRegions', min_score=0.5)
    share = f'{prob:.0%}'.replace('%', ' %')
    return [
        # the row of equal weights has the same training
        Variant(
            'all-mislinked' if prob == 0.2 else f'mislinked-{prob:g}',
            _FORMER,
            transforms=[links],
            text=f'{share} wrong',
        ),
        Variant(
            f'mislinked-{prob:g}-weighed',
            _FORMER,
            transforms=[scored],
            text=f'{share} wrong, weighed by their scores',
        ),
        Variant(
            f'mislinked-{prob:g}-dropped',
            _FORMER,
            transforms=[scored, dropped],
            text=f'{share} wrong, weighed, below 0.5 dropped',
        ),
    ]


def _elided() -> List[Variant]:
    """Phrases that leave their colours to the caption: methods that read them
    alone, each against LRC, whose tokens have read the caption.

    A red and a blue "circle" differ, so that equal phrases must be no
    positives of each other, but equal lexemes.
    """
    elided = dict(transforms=[dict(type='ElideColours')])
    alone = _gr_alone('-elided', '', **elided)
    ours = Variant('elided', text='HarmoCLIP', **elided)
    more = Variant(
        'elided-pair',
        {**_FORMER, **_LEXEME},
        text='GC + GR + 0.5 LRC, equal lexemes as positives',
        **elided,
    )
    others = [
        alone,
        Variant(
            'elided-group',
            _FORMER,
            text='GC + GR + 0.5 LRC, equal phrases as positives',
            **elided,
        ),
        Variant(
            'fineclip-elided', config='fineclip', text='FineCLIP', **elided
        ),
        Variant('fgclip-elided', config='fgclip', text='FG-CLIP', **elided),
    ]
    return [alone, ours, *(row for each in others for row in (each, more))]


WRONG_LINKS = [dict(type='MislinkRegions', prob=0.2)]
FEW_LINKS = [dict(type='KeepRegionsOfSome', share=0.1)]
# Title of each table: its rows, variants of HarmoCLIP, in pairs, the second
# against the first...
PAIRS: Dict[str, List[Variant]] = {
    'Does LRC earn its place, at equal total weight?': [
        _gr_alone('', 'all links right, '),
        replace(ALL, text='all links right, HarmoCLIP'),
        _gr_alone('', 'all links right, '),
        replace(FORMER, text='all links right, GC + GR + 0.5 LRC'),
        *_equal_weight('-mislinked', '20 % of the links wrong', WRONG_LINKS),
        *_equal_weight('-few', '10 % of the captions linked', FEW_LINKS),
    ],
    'And where phrases leave their colours to the caption?': _elided(),
}
# ... and all against the first.
IDEAS: Dict[str, List[Variant]] = {
    'What scores of links buy': [
        FORMER,
        *_wrong_links(0.2),
        *_wrong_links(0.5),
    ],
    'Losses': [
        FORMER,
        Variant('lrc', _FORMER, without=['gr'], text='GC + 0.5 LRC'),
        Variant('gr', _weights(gr=1.0), without=['lrc'], text='GC + GR'),
    ],
    'Ideas to make novel boxes better': [
        FORMER,
        Variant(
            'text-lr-0.1',
            {
                **_FORMER,
                'optim_wrapper.paramwise_cfg.custom_keys': dict(
                    text_encoder=dict(lr_mult=0.1)
                ),
            },
            text='text tower at a tenth of the learning rate',
        ),
        Variant(
            'lrc-pair',
            {**_FORMER, **_LEXEME},
            text='LRC with equal lexemes as positives',
        ),
        ALL,
        Variant(
            'light',
            {**_FORMER, **_weights(lrc=0.25, gr=0.25)},
            text='LRC 0.25, GR 0.25',
        ),
        Variant(
            'hard',
            _FORMER,
            config='harmoclip_hard',
            text='hard negatives by exchanged words, weight 0.5',
        ),
        Variant(
            'light-hard',
            {**_FORMER, **_weights(lrc=0.25, gr=0.25)},
            config='harmoclip_hard',
            text='the same, LRC 0.25, GR 0.25',
        ),
        Variant(
            'light-hard-gr',
            _weights(gr=0.25),
            without=['lrc'],
            config='harmoclip_hard',
            text='the same, GR 0.25, no LRC',
        ),
        Variant(
            'fit',
            {
                **_FORMER,
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
