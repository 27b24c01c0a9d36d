"""Sound and middle frame of video files, made here or real."""

from pathlib import Path

import av
import numpy as np
import pytest

from avbench.data.decoding import decode_audio, decode_image
from avbench.data.video import decode_container_audio, is_container, middle_frame
from avbench.errors import AvbenchError

FRAMES, RATE = 20, 48000


def make_clip(path: Path, *, picture: bool = True, sound: bool = True, layout: str = "stereo", **options) -> Path:
    """Two seconds: frame i has the grey level 10 * i; a tone of 1 kHz, on the left channel twice as loud."""
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream("mpeg4", rate=10) if picture else None
        audio = container.add_stream("aac", rate=RATE, layout=layout) if sound else None
        if video is not None:
            video.width, video.height, video.pix_fmt, video.bit_rate = 96, 64, "yuv420p", 4_000_000
            for i in range(FRAMES):
                grey = np.full((64, 96, 3), 10 * i, dtype=np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(video.encode(None))
        if audio is not None:
            tone = 0.4 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
            channels = np.stack([tone, tone / 2])[: len(audio.layout.channels)].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
            frame.sample_rate = RATE
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


def test_the_middle_frame(clip: Path) -> None:
    came = middle_frame(clip)
    assert (came.shape, came.dtype) == ((3, 224, 224), np.uint8)
    assert abs(int(np.median(came)) - 10 * FRAMES // 2) <= 4
    assert middle_frame(clip, size=32).shape == (3, 32, 32)


def test_sound_is_the_mean_of_the_channels_at_16_khz(clip: Path) -> None:
    samples, rate = decode_container_audio(clip)
    assert (samples.dtype, rate) == (np.float32, 16000)
    assert abs(len(samples) - 32000) < 1000
    inner = samples[4000:28000]
    assert abs(np.abs(inner).max() - 0.3) < 0.02
    spectrum = np.abs(np.fft.rfft(inner))
    assert spectrum.argmax() * 16000 / len(inner) == 1000


def test_the_tracks_own_rate(clip: Path) -> None:
    samples, rate = decode_container_audio(clip, rate=None)
    assert rate == RATE
    assert abs(len(samples) - 2 * RATE) < 3000


def test_mono_sound(tmp_path: Path) -> None:
    samples, _ = decode_container_audio(make_clip(tmp_path / "a.m4a", picture=False, layout="mono"))
    assert abs(np.abs(samples[4000:28000]).max() - 0.4) < 0.02


def test_what_counts_as_a_container() -> None:
    assert [is_container(Path(n)) for n in ("a.mp4", "b.MKV", "c.m4a", "d.wav", "e.jpg", "mp4")] == [
        True, True, True, False, False, False
    ]  # fmt: skip


def refused(path: Path, message: str, *calls) -> None:
    for call in calls or (decode_container_audio, middle_frame):
        with pytest.raises(AvbenchError, match=message) as caught:
            call(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_track(tmp_path: Path) -> None:
    refused(make_clip(tmp_path / "a.mp4", sound=False), "has no audio track: expected a clip", decode_container_audio)
    refused(make_clip(tmp_path / "b.mp4", picture=False), "has no video track: expected a clip", middle_frame)


def test_no_video_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", r"expected a video at .*none.mp4, found nothing")
    for content in (b"", b"<html>404</html>"):
        (tmp_path / "a.mp4").write_bytes(content)
        refused(tmp_path / "a.mp4", "cannot be read as a video")


def test_a_truncated_video(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes()[:2000])
    refused(tmp_path / "a.mp4", r"cannot be read as a video .*: it is cut off or no video")


def test_a_sound_track_that_ends_early(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", picture=False, movflags="faststart")
    decode_container_audio(path)
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux() if packet.pos is not None]
    path.write_bytes(path.read_bytes()[: ends[len(ends) // 2]])
    refused(path, r"is cut off: it promises 2\.0 s of sound, there are 1\.\d s; fetch", decode_container_audio)


def test_real_clips(shared: Path) -> None:
    clips = sorted((shared / "media/vggsound_clips").glob("*.mp4"))
    assert len(clips) == 9
    for path in clips:
        samples, rate = decode_container_audio(path)
        assert rate == 16000
        assert 9.5 < len(samples) / rate < 10.5
        assert samples.any()
        assert middle_frame(path).std() > 5


def test_a_video_is_no_picture_or_wav(clip: Path) -> None:
    refused(clip, "cannot be read as", decode_audio, decode_image)
