# Kinds of words of both worlds: a hard negative exchanges one for another.
words = [
    ['small', 'large'],
    ['red', 'green', 'blue', 'yellow', 'purple', 'orange', 'cyan', 'white'],
    ['circle', 'square', 'triangle', 'star', 'cross', 'ring', 'heart',
     'diamond', 'crescent', 'arrow'],
    ['e', 'h', 'k', 's', 't', 'x', '2', '4', '5', '7'],
]  # fmt: skip
