# tiny.py with hard negatives of both worlds: a word of a phrase is exchanged
# for one of its kind, never so that a held-out combination is made.
_base_ = './tiny.py'
hard_negative_steps = [
    dict(
        type='ExchangeWords',
        words=[
            ['small', 'large'],
            ['red', 'green', 'blue', 'yellow', 'purple', 'orange', 'cyan',
             'white'],
            ['circle', 'square', 'triangle', 'star', 'cross', 'ring', 'heart',
             'diamond', 'crescent', 'arrow'],
            ['e', 'h', 'k', 's', 't', 'x', '2', '4', '5', '7'],
        ],
        forbidden='{{$SHAPES_ROOT:data/shapes/}}/annotations/novel_classes.txt',
    ),
    dict(type='TokenizeRegionText', clip=None, negatives=10),
]  # fmt: skip
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            *hard_negative_steps,
            _base_.train_pipeline[-1],
        ]
    )
)
