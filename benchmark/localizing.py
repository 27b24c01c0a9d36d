"""One image and one sound: where a method hears it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avbench.api import load_method
from avbench.augment import normalise
from avbench.data.audio_modes import Waveform
from avbench.data.decoding import AUDIO_RATE, cut, decode_audio, decode_image
from avbench.data.video import decode_container_audio, is_container, middle_frame
from avbench.errors import UsageError
from avbench.metrics.maps import minmax_guarded, upsample
from avbench.pictures import localization
from avbench.predicting import resolve_device
from avbench.request import Settings
from avbench.runner import request_for
from avbench.trained import demo_checkpoint
from avbench.types import Batch


def localize_file(
    method: str,
    media: tuple[Path, Path | None],
    out: Path,
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    overrides: dict[str, Any] | None = None,
) -> Path:
    """Draw the map of ``method`` for an image and a sound into the PNG ``out``, and return it.

    Args:
        method: As for ``--method``.
        media: A picture and a sound; either may be a video, of which the middle frame or the sound track is taken;
            None for the sound takes that of the video given as picture.
        out: The PNG file.
        checkpoint: Trained weights; None takes those of the demo recipe from the store.
        device: As for ``--device``.
        overrides: Settings of the method.

    Raises:
        UsageError: if there is no sound, or no checkpoint for a method that needs one.
        AvbenchError: if a file cannot be decoded.
    """
    picture, sound = media
    if sound is None and not is_container(picture):
        raise UsageError(f"{picture} is a picture and no sound was given: avbench localize --method NAME IMAGE AUDIO")
    request = request_for(method, checkpoint, overrides or {})
    weights = checkpoint or demo_checkpoint(request, Settings(device=device))
    network = load_method(method, weights, str(resolve_device(device)), **request.overrides)
    pixels = middle_frame(picture) if is_container(picture) else decode_image(picture)
    heat = _heat(network, pixels, _sound(sound or picture))
    localization(np.moveaxis(pixels, 0, -1), heat, f"{request.ref.name}: {(sound or picture).name}", out)
    return out


def _sound(path: Path) -> tuple[Waveform, int]:
    return decode_container_audio(path, rate=AUDIO_RATE) if is_container(path) else decode_audio(path, rate=AUDIO_RATE)


@torch.inference_mode()
def _heat(network: Any, pixels: Any, sound: tuple[Waveform, int]) -> Any:
    place = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    image = normalise(torch.from_numpy(pixels)[None].to(place))
    audio = None
    if network.frontend is not None:
        samples, rate = sound
        audio = network.frontend(torch.from_numpy(cut(samples, rate, network.frontend.window))[None].to(place), rate)
    native = network.localize(Batch([""], image, audio)).map
    return minmax_guarded(upsample(native, "bicubic", align_corners=False, keep_constant=True))[0].cpu().numpy()


__all__: Sequence[str] = ["localize_file"]
