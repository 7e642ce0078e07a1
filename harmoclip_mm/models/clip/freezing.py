"""Parameters that a method leaves as they are."""

import re
from typing import Sequence

from torch import nn


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Stops gradients of parameters.

    Args:
        model (nn.Module): The model.
        patterns (Sequence[str]): Regular expressions, matched from the start
            of the parameters' names.

    Raises:
        ValueError: If a pattern matches no parameter.
    """
    for pattern in patterns:
        found = [
            weight
            for name, weight in model.named_parameters()
            if re.match(pattern, name)
        ]
        if not found:
            raise ValueError(
                f'frozen={pattern!r} matches no parameter of the model; '
                f'names are like {next(model.named_parameters())[0]!r}.'
            )
        for weight in found:
            weight.requires_grad_(False)
