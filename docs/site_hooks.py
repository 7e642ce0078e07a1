"""What `make docs` changes in pages, beside what MkDocs does."""

import re
from typing import Any

from latex2mathml.converter import convert


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Turn formulas into MathML, which browsers show by themselves."""
    return re.sub(
        r'^\$\$\n(.*?)^\$\$$',
        lambda found: f'<div>{convert(found[1], display="block")}</div>',
        markdown,
        flags=re.MULTILINE | re.DOTALL,
    )


def on_page_content(html: str, **kwargs: Any) -> str:
    """Show Sphinx's roles, as in ``:class:`Runner```, as code alone."""
    return re.sub(r':(?:attr|class|exc|func|meth|mod):(?=<code)', '', html)
