"""HTML pages that load nothing: their templates share one style."""

from pathlib import Path
from typing import Union

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ['page_templates']


def page_templates(folder: Union[str, Path]) -> Environment:
    """Templates of a folder; ``style.css.j2`` of this one may be included.

    Args:
        folder (str | Path): The folder.

    Returns:
        Environment: What reads them; of HTML it escapes what is filled in.
    """
    return Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=lambda name: name is None or not name.endswith('.md.j2'),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
