"""``avbench localize``: draw where a method hears the sound in one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avbench.checkpoints import checkpoint_given
from avbench.commands.shared import (
    bar,
    check_device,
    command_parser,
    log,
    optional_path,
    parse,
    picture_path,
    settings_of,
)

EXAMPLES = """\
  avbench localize --method jsa frame.jpg sound.wav -o out.png
  avbench localize --method ezvsl frame.jpg clip.mp4 -o out.png --checkpoint ezvsl.pth
  avbench localize --method jsa clip.mp4 -o out.png          the middle frame of the clip, with its sound
"""


def main(given: Sequence[str]) -> int:
    """Run the subcommand; the exit code is 0."""
    parser = command_parser("localize", "Draw where a method hears the sound in one image.", EXAMPLES)
    parser.add_argument("image", type=str, help="a picture, or a video whose middle frame is taken")
    parser.add_argument(
        "audio", type=str, nargs="?", default=None, help="a sound or a video (default: the video given first)"
    )
    parser.add_argument("--method", required=True, type=str)
    parser.add_argument(
        "--checkpoint", type=str, default=None, help="trained weights (default: those of the demo recipe)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method")
    parser.add_argument("--out", "-o", type=str, default="localized.png", metavar="FILE", help=".png, .jpg or .pdf")
    parser.add_argument("--device", type=str, default="auto")
    options = parse(parser, given)
    check_device(options.device)
    out = picture_path(options.out)
    checkpoint = checkpoint_given(Path(options.checkpoint)) if options.checkpoint else None
    overrides = settings_of(options.set, [options.method])[options.method]
    from avbench.localizing import localize_file
    from avbench.runner import request_for

    request = request_for(options.method, checkpoint, overrides)
    media = (Path(options.image), optional_path(options.audio))
    log(f"picture: {localize_file(request, media, out, device=options.device, progress=bar)}")
    return 0
