"""The variants that ``compare.py --ablations`` runs, a table of data."""

from typing import Dict, List, Sequence

from .plan import DEFAULT, Recipe, Run, Variant


def _weights(**weights: float) -> Dict[str, float]:
    """Options that set the weights of heads."""
    return {
        f'model.heads.{head}.loss.loss_weight': weight
        for head, weight in weights.items()
    }


def _equal_weight(
    name: str, text: str, transforms: Sequence[dict] = ()
) -> List[Variant]:
    """GC + GR + LRC, and GC + GR with GR at the weight of both."""
    return [
        Variant(
            f'gr-1.5{name}',
            _weights(gr=1.5),
            without=['lrc'],
            transforms=transforms,
            text=f'{text}, GC + 1.5 GR',
        ),
        Variant(
            f'all{name}' if name else DEFAULT,
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
            transforms=[links],
            text=f'{share} wrong',
        ),
        Variant(
            f'mislinked-{prob:g}-weighed',
            transforms=[scored],
            text=f'{share} wrong, weighed by their scores',
        ),
        Variant(
            f'mislinked-{prob:g}-dropped',
            transforms=[scored, dropped],
            text=f'{share} wrong, weighed, below 0.5 dropped',
        ),
    ]


def _elided() -> List[Variant]:
    """Phrases that leave their colours to the caption: methods that read them
    alone, each against LRC, whose tokens have read the caption.

    Equal phrases are no positives of each other then, since a red and a blue
    "circle" differ.
    """
    elided = dict(transforms=[dict(type='ElideColours')])
    ours = Variant(
        'elided-pair',
        {'model.heads.lrc.loss.positives': 'pair'},
        text='GC + GR + 0.5 LRC, one positive a row',
        **elided,
    )
    peers = [
        Variant(
            'gr-1.5-elided',
            _weights(gr=1.5),
            without=['lrc'],
            text='GC + 1.5 GR',
            **elided,
        ),
        Variant('elided', text='GC + GR + 0.5 LRC, as by default', **elided),
        Variant(
            'fineclip-elided', config='fineclip', text='FineCLIP', **elided
        ),
        Variant('fgclip-elided', config='fgclip', text='FG-CLIP', **elided),
    ]
    return [row for peer in peers for row in (peer, ours)]


WRONG_LINKS = [dict(type='MislinkRegions', prob=0.2)]
FEW_LINKS = [dict(type='KeepRegionsOfSome', share=0.1)]
ALL = Variant(text='GC + GR + 0.5 LRC (default)')
# Title of each table: its rows, variants of HarmoCLIP, in pairs, the second
# against the first...
PAIRS: Dict[str, List[Variant]] = {
    'Does LRC earn its place, at equal total weight?': [
        *_equal_weight('', 'all links right'),
        *_equal_weight('-mislinked', '20 % of the links wrong', WRONG_LINKS),
        *_equal_weight('-few', '10 % of the captions linked', FEW_LINKS),
    ],
    'And where phrases leave their colours to the caption?': _elided(),
}
# ... and all against the first.
IDEAS: Dict[str, List[Variant]] = {
    'What scores of links buy': [
        ALL,
        *_wrong_links(0.2),
        *_wrong_links(0.5),
    ],
    'Losses': [
        ALL,
        Variant('lrc', without=['gr'], text='GC + 0.5 LRC'),
        Variant('gr', without=['lrc'], text='GC + GR'),
    ],
    'Ideas to make novel boxes better': [
        ALL,
        Variant(
            'text-lr-0.1',
            {
                'optim_wrapper.paramwise_cfg.custom_keys': dict(
                    text_encoder=dict(lr_mult=0.1)
                )
            },
            text='text tower at a tenth of the learning rate',
        ),
        Variant(
            'lrc-pair',
            {'model.heads.lrc.loss.positives': 'pair'},
            text='LRC with one positive a row',
        ),
        Variant(
            'light',
            _weights(lrc=0.25, gr=0.25),
            text='LRC 0.25, GR 0.25',
        ),
        Variant(
            'hard',
            config='harmoclip_hard',
            text='hard negatives by exchanged words, weight 0.5',
        ),
        Variant(
            'light-hard',
            _weights(lrc=0.25, gr=0.25),
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
