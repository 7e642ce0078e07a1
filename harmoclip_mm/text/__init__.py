"""Text as data: tokenizer, prompt templates, vocabularies (no torch.nn)."""

from .phrase_linking import PhraseFinder, link_caption
from .phrases import normalise_phrase, phrase_key
from .templates import fill_templates, get_templates, list_templates
from .tokenizer import CLIPTokenizer, Encoding, find_vocab_file, read_bpe
from .vocabularies import (
    Vocabulary,
    class_to_prompt,
    list_vocabularies,
    load_vocabulary,
)

__all__ = [
    'CLIPTokenizer',
    'Encoding',
    'PhraseFinder',
    'Vocabulary',
    'class_to_prompt',
    'fill_templates',
    'find_vocab_file',
    'get_templates',
    'link_caption',
    'list_templates',
    'list_vocabularies',
    'load_vocabulary',
    'normalise_phrase',
    'phrase_key',
    'read_bpe',
]
