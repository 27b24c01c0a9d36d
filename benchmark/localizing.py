"""One image and one sound: where a method hears it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from avbench.augment import normalise
from avbench.building import build_request
from avbench.data.decoding import AUDIO_RATE, Waveform, cut, decode_audio, decode_image
from avbench.data.video import decode_container_audio, is_container, middle_frame
from avbench.errors import UsageError
from avbench.metrics.maps import minmax_guarded, upsample
from avbench.opening import Progress, silent
from avbench.pictures import localization
from avbench.predicting import picture_of, resolve_device
from avbench.request import MethodRequest, Settings
from avbench.trained import from_demo_recipe
from avbench.types import Batch


def localize_file(
    request: MethodRequest,
    media: tuple[Path, Path | None],
    out: Path,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> Path:
    """Draw the map of a method for an image and a sound into ``out``, and return it.

    Args:
        request: The method; without a checkpoint it takes the weights of its demo recipe, trained now if the store
            has none.
        media: A picture and a sound; either may be a video, of which the middle frame or the sound track is taken;
            None for the sound takes that of the video given as picture. A method that does not hear needs none.
        out: The picture, PNG, JPEG or PDF by its suffix.
        device: As for ``--device``.
        progress: For the bar of a training.

    Raises:
        UsageError: if there is no sound and the method hears, or if it looks at pictures in another way than squashed.
        AvbenchError: if a file cannot be decoded.
    """
    picture, sound = media
    hears = "audio" in request.info.needs
    if hears and sound is None and not is_container(picture):
        raise UsageError(f"{picture} is a picture and no sound was given: avbench localize --method NAME IMAGE AUDIO")
    pixels = middle_frame(picture) if is_container(picture) else decode_image(picture)
    heard = _sound(sound or picture) if hears else None
    if request.checkpoint is None and request.info.trainable:
        request = from_demo_recipe(request, "demo-train", Settings(device=device), progress)
    network = build_request(request, str(resolve_device(device)))
    if picture_of(network) != "squash":
        raise UsageError(
            f"avbench localize draws on whole pictures, squashed, but {request.ref.name} is set to look at them as "
            f"{picture_of(network)!r}: set its picture to squash"
        )
    title = f"{request.ref.name}: {((hears and sound) or picture).name}"
    localization(np.moveaxis(pixels, 0, -1), _heat(network, pixels, heard), title, out)
    return out


def _sound(path: Path) -> tuple[Waveform, int]:
    return decode_container_audio(path, rate=AUDIO_RATE) if is_container(path) else decode_audio(path, rate=AUDIO_RATE)


@torch.inference_mode()
def _heat(network: Any, pixels: Any, sound: tuple[Waveform, int] | None) -> Any:
    place = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    image = normalise(torch.from_numpy(pixels)[None].to(place))
    audio = None
    if sound is not None:
        samples, rate = sound
        audio = network.frontend(torch.from_numpy(cut(samples, rate, network.frontend.window))[None].to(place), rate)
    native = network.localize(Batch([""], image, audio)).map
    return minmax_guarded(upsample(native, "bicubic", align_corners=False, keep_constant=True))[0].cpu().numpy()
