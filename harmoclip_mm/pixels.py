"""Pillow's images of any mode as the pixels that CLIPs see."""

from PIL import Image

from harmoclip_mm.errors import DataError


def rgb_of(image: Image.Image) -> Image.Image:
    """The image in RGB, 8 bits a channel.

    CLIPs were trained on what ``Image.convert`` makes, transparency left
    out. Of 16 bits it cuts off all that is above 255, so that most of such an
    image is white, and of numbers from 0 to 1 it makes black.

    Args:
        image (Image): An image of any mode.

    Returns:
        Image: The same in mode RGB; itself where it has that mode.

    Raises:
        DataError: If its numbers are not those of 8 bits.
    """
    if image.mode == 'RGB':  # which `convert` would copy
        image.load()
        return image
    if image.mode[0] in 'IF':
        low, high = image.getextrema()
        is_share = image.mode == 'F' and high <= 1
        if low < 0 or high > 255 or is_share:
            raise DataError(
                f'its pixels are numbers from {low:g} to {high:g}, and not '
                'those of 8 bits, from 0 to 255: bring them to that range, '
                'as you want them seen, and save it with 8 bits'
            )
    return image.convert('RGB')
