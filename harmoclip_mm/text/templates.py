"""Prompt templates: how a class name becomes sentences for the text tower.

The embedding of a class is the normalised mean of the normalised embeddings
of its sentences. The sets are data files of one template a line; their
sources are in ``data/README.md``.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import List, Sequence, Tuple, Union

_DATA_DIR = Path(__file__).parent / 'data' / 'templates'
_FIELD = re.compile(r'\{(.*?)\}')


@lru_cache(maxsize=None)
def _read(name: str) -> Tuple[str, ...]:
    names = sorted(path.stem for path in _DATA_DIR.glob('*.txt'))
    if name not in names:
        raise ValueError(
            f'Unknown template set {name!r}: choose one of '
            f'{", ".join(names)}, or give a list of templates '
            "such as ['a photo of a {}.']."
        )
    templates = (_DATA_DIR / f'{name}.txt').read_text(encoding='utf-8')
    templates = templates.splitlines()
    if name == 'vild63':
        # ViLD makes sentences of its noun phrases (ViLD_demo.ipynb, flag
        # `this_is`), and CLIPSelf and FineCLIP follow it.
        templates = [
            f'This is {text}' if text.startswith(('a', 'the')) else text
            for text in templates
        ]
    return tuple(templates)


def get_templates(name: Union[str, Sequence[str]]) -> Tuple[str, ...]:
    """Get a set of prompt templates.

    ``openai80``: the 80 ImageNet templates of CLIP; ``vild63``: the 63 of
    ViLD with its "This is" put in front, as the CLIPSelf and FineCLIP
    protocols use them; ``simple``: ``a photo of a {}.``; ``none``: ``{}``.

    Args:
        name (str | Sequence[str]): Name of a set, or templates of one's own.

    Returns:
        Tuple[str, ...]: Templates with one ``{}`` for the class name, and at
        most ``{article}``, for "a" or "an", beside it. Fill them with
        :func:`fill_templates`.

    Raises:
        ValueError: If the name is unknown, the list is empty, or a template
            lacks ``{}`` or has another field.
    """
    if isinstance(name, str):
        return _read(name)
    if not name:
        raise ValueError('The list of templates is empty.')
    for index, template in enumerate(name):
        fields = _FIELD.findall(template)
        if fields.count('') != 1 or set(fields) - {'', 'article'}:
            raise ValueError(
                f'Template {index} must have one {{}} for the class name and '
                f'no field but {{article}}: {template!r}.'
            )
    return tuple(name)


def fill_templates(templates: Sequence[str], words: str) -> List[str]:
    """Put the words of one class into every template.

    A full stop at the end of the words is dropped, and ``{article}`` is "an"
    before a, e, i, o, u and "a" otherwise (tensorflow/tpu,
    ``ViLD_demo.ipynb``).

    Args:
        templates (Sequence[str]): See :func:`get_templates`.
        words (str): Class name as prompt; see ``Vocabulary.prompts``.

    Returns:
        List[str]: One sentence for each template.

    Examples:
        >>> fill_templates(get_templates('simple'), 'dog')
        ['a photo of a dog.']
        >>> fill_templates(['There is {article} {}.'], 'apple')
        ['There is an apple.']
    """
    words = words.rstrip('.')
    article = 'an' if words[:1].lower() in tuple('aeiou') else 'a'
    return [template.format(words, article=article) for template in templates]
