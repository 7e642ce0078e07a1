"""The CLIP that a transform prepares samples for."""

from typing import Any, Mapping, Optional, Union

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import CLIPS


def describe_clip(
    clip: Optional[Union[str, Mapping[str, Any]]], user: str
) -> Any:
    """Look up the CLIP that a transform is told.

    Args:
        clip (str | Mapping, optional): A name of open_clip's, a config or a
            folder.
        user (str): Name of the transform, for the message.

    Returns:
        CLIPSpec: What it says.

    Raises:
        UsageError: If there is none, or no such CLIP.
    """
    if clip is None:
        raise UsageError(
            f'{user} is told no CLIP: read the config by '
            'harmoclip_mm.apis.load_config, which fills in its line '
            '`clip = ...`, or write clip=NAME into the transform'
        )
    return CLIPS.get('CLIPSpec')(clip)
