#!/usr/bin/env python
"""Detect what words name, in a picture, a folder of pictures or a video.

    python demo/open_vocabulary_demo.py street.jpg CONFIG CHECKPOINT \\
        --texts "red car" "bicycle" --out-dir outputs

Pictures with boxes go to OUT_DIR/vis, predictions to OUT_DIR/preds; of a
video, a video with boxes is written. Nothing is downloaded.
"""

import argparse
from itertools import islice
from pathlib import Path
from typing import Callable

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

import cv2
import numpy as np
from rich.progress import track

from harmoclip_mm.command_line import add_config_option

VIDEOS = ('.avi', '.mkv', '.mov', '.mp4', '.webm')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('input', help='picture, folder of pictures, or video')
    parser.add_argument('config', help='config of configs/ov_detection/')
    parser.add_argument('checkpoint', help='checkpoint of its training')
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        '--texts',
        nargs='+',
        metavar='TEXT',
        help='what to detect (default: the classes of its training)',
    )
    words.add_argument(
        '--vocabulary',
        help='the same as the name of a vocabulary (coco80) or a file',
    )
    parser.add_argument(
        '--out-dir',
        default='outputs',
        help='folder to write into (default: %(default)s)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='lowest score that is drawn (default: %(default)s)',
    )
    parser.add_argument(
        '--batch-size', type=int, default=1, help='pictures at once'
    )
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument(
        '--no-save-pred',
        action='store_true',
        help='write no predictions, only pictures',
    )
    parser.add_argument(
        '--show', action='store_true', help='open a window for every picture'
    )
    add_config_option(parser, 'model.roi_head.beta=0.7')
    args = parser.parse_args()
    if args.batch_size < 1:
        parser.error('--batch-size must be at least 1')
    return args


def detect_in_video(
    inferencer: Callable[..., dict], args: argparse.Namespace
) -> Path:
    """Write a video with boxes; frames are read and written one batch at a
    time."""
    import mmcv

    reader = mmcv.VideoReader(args.input)
    if not len(reader):
        raise UsageError(f'{args.input} holds no frame that can be read')
    out = Path(args.out_dir) / f'{Path(args.input).stem}.mp4'
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(
        str(out),
        cv2.VideoWriter_fourcc(*'mp4v'),
        reader.fps,
        (reader.width, reader.height),
    )
    shown = iter(track(reader, description='frames'))
    for frames in iter(lambda: list(islice(shown, args.batch_size)), []):
        results = inferencer(
            frames,
            batch_size=len(frames),
            return_vis=True,
            no_save_vis=True,
            show=args.show,
            wait_time=0.001,
            pred_score_thr=args.score_thr,
        )
        for picture in results['visualization']:
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return out


def main() -> None:
    """Run the demo."""
    args = parse_args()
    source = Path(args.input)
    if not source.exists():
        raise UsageError(f'{source} does not exist')
    from harmoclip_mm.apis import OpenVocabularyInferencer

    is_video = source.suffix.lower() in VIDEOS
    inferencer = OpenVocabularyInferencer(
        args.config,
        args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        show_progress=not is_video,
    )
    if args.texts or args.vocabulary:
        inferencer.set_vocabulary(args.texts or args.vocabulary)
    if is_video:
        print(f'Wrote {detect_in_video(inferencer, args)}')
        return
    found = inferencer(
        args.input,
        batch_size=args.batch_size,
        out_dir=args.out_dir,
        show=args.show,
        no_save_pred=args.no_save_pred,
        pred_score_thr=args.score_thr,
    )
    if not found['predictions']:
        raise UsageError(f'{source} holds no picture')
    print(f'Wrote pictures with boxes into {Path(args.out_dir) / "vis"}')


if __name__ == '__main__':
    run_command(main)
