"""Text as data: phrases, prompt templates, vocabularies (no torch)."""

from .phrase_finder import PhraseFinder
from .phrase_linking import link_caption
from .phrases import (
    captions_of,
    content_key,
    find_phrase,
    normalise_phrase,
    phrase_key,
    phrases_of,
)
from .templates import fill_templates, get_templates
from .vocabularies import (
    Vocabulary,
    class_to_prompt,
    classes_to_prompts,
    find_groups,
    list_vocabularies,
    load_vocabulary,
)

__all__ = [
    'PhraseFinder',
    'Vocabulary',
    'captions_of',
    'class_to_prompt',
    'classes_to_prompts',
    'content_key',
    'fill_templates',
    'find_groups',
    'find_phrase',
    'get_templates',
    'link_caption',
    'list_vocabularies',
    'load_vocabulary',
    'normalise_phrase',
    'phrase_key',
    'phrases_of',
]
