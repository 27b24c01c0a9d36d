"""Sound and frames of video files, made here or real: frames by time, in every container."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avbench.data import video
from avbench.data.decoding import decode_audio, decode_image
from avbench.data.video import decode_container_audio, frames_at, is_container, middle_frame, sound_track, timeline
from avbench.errors import AvbenchError

FRAMES, RATE = 20, 48000
CODECS = {".webm": ("libvpx-vp9", "libopus"), ".mkv": ("libx264", "libopus"), ".mp4": ("libx264", "aac")}
OTHERS = {".avi": ("mpeg4", "pcm_s16le"), ".mov": ("libx264", "aac"), ".ts": ("libx264", "aac")}
ALL = CODECS | OTHERS


def make_clip(
    path: Path,
    *,
    frames: int = FRAMES,
    seconds: float = 2,
    layout: str = "stereo",
    codecs: tuple[str, str] = ("mpeg4", "aac"),
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """Frame i has the grey level 10 * i and begins at i / 10 s, or at ``times[i]`` ms; a tone of 1 kHz, half as loud on
    the right channel. No frames or no seconds: no such track."""
    with av.open(str(path), "w", options=options) as container:
        picture = container.add_stream(codecs[0], rate=10) if frames else None
        sound = container.add_stream(codecs[1], rate=RATE, layout=layout) if seconds else None
        if picture is not None:
            write_picture(container, picture, frames, times)
        if sound is not None:
            write_sound(container, sound, seconds, layout)
    return path


def write_picture(container, track, frames: int, times: list[int] | None) -> None:
    track.width, track.height, track.pix_fmt, track.bit_rate = 96, 64, "yuv420p", 4_000_000
    if times:
        track.codec_context.time_base = Fraction(1, 1000)
    for i in range(frames):
        frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 10 * i, dtype=np.uint8), format="rgb24")
        if times:
            frame.pts, frame.time_base = times[i], Fraction(1, 1000)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def write_sound(container, track, seconds: float, layout: str) -> None:
    tone = 0.4 * np.sin(2 * np.pi * 1000 * np.arange(int(seconds * RATE)) / RATE)
    channels = np.stack([tone, tone / 2])[: len(track.layout.channels)].astype(np.float32)
    frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
    frame.sample_rate, frame.pts = RATE, 0
    resampler = av.AudioResampler(format=track.format, layout=layout, rate=RATE)
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(track.encode(piece))
    container.mux(track.encode(None))


def turned(path: Path, matrix: tuple[int, ...]) -> Path:
    """The mp4 with another display matrix in the header of its picture track, as telephones write it."""
    content = path.read_bytes()
    place = content.index(b"tkhd") + 44
    cells = (*matrix[:2], 0, *matrix[2:], 0, 0, 0)
    unit = [int(c * 65536).to_bytes(4, "big", signed=True) for c in cells]
    path.write_bytes(content[:place] + b"".join(unit) + (1 << 30).to_bytes(4, "big") + content[place + 36 :])
    return path


def number_of(image) -> int:
    """Which frame of :func:`make_clip` it is."""
    return round(float(np.median(np.asarray(image))) / 10)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


def test_the_middle_frame(clip: Path) -> None:
    came = middle_frame(clip)
    assert (came.shape, came.dtype) == ((3, 224, 224), np.uint8)
    assert abs(int(np.median(came)) - 10 * FRAMES // 2) <= 4
    assert middle_frame(clip, size=32).shape == (3, 32, 32)


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("frames", [1, 2, 9, 20])
def test_the_middle_of_n_frames_is_number_n_half(tmp_path: Path, suffix: str, frames: int) -> None:
    path = make_clip(tmp_path / f"a{suffix}", frames=frames, codecs=ALL[suffix])
    assert len(timeline(path).starts) == frames
    assert number_of(middle_frame(path)) == frames // 2


@pytest.mark.parametrize("suffix", ALL)
def test_the_frame_that_is_shown_at_a_time(tmp_path: Path, suffix: str) -> None:
    path = make_clip(tmp_path / f"a{suffix}", codecs=ALL[suffix], g="6")
    line = timeline(path)
    assert (line.fps, line.varies, line.seconds) == (pytest.approx(10), False, pytest.approx(2, abs=0.011))
    seconds = [Fraction(k, 1000) for k in (0, 99, 100, 101, 150, 999, 1000, 1550, 1899, 1900, 1999)]
    stills = frames_at(path, line, seconds)
    assert [number_of(still.image) for still in stills] == [0, 0, 1, 1, 1, 9, 10, 15, 18, 19, 19]
    assert all(still.begins <= t < still.begins + Fraction(1, 10) for still, t in zip(stills, seconds, strict=True))
    assert [still.image.size for still in stills] == [(96, 64)] * len(stills)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_frame_rate_that_varies(tmp_path: Path, suffix: str) -> None:
    times = [0, 40, 80, 700, 1500, 1540, 1580, 1960]
    path = make_clip(tmp_path / f"a{suffix}", frames=8, times=times, codecs=CODECS[suffix])
    line = timeline(path)
    assert line.varies
    assert line.fps == pytest.approx(7 / 1.96)
    shown = frames_at(path, line, [Fraction(s) for s in ("0.079", "0.5", "1", "1.499", "1.5", "1.9")])
    assert [number_of(still.image) for still in shown] == [1, 2, 3, 3, 4, 6]
    assert float(shown[2].begins) == pytest.approx(0.7)


def test_frames_are_numbered_from_the_first_whatever_the_clock_says(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", times=[5000 + 100 * i for i in range(FRAMES)], codecs=CODECS[".mkv"])
    assert number_of(middle_frame(path)) == FRAMES // 2
    assert sound_track(path, timeline(path)).begins == pytest.approx(-5, abs=0.05)


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),
    [((1, 0, 0, 1), (96, 64), (0, 0)), ((0, 1, -1, 0), (64, 96), (63, 0)), ((-1, 0, 0, -1), (96, 64), (95, 63)),
     ((0, -1, 1, 0), (64, 96), (0, 95))],
)  # fmt: skip
def test_a_video_is_turned_as_its_container_says(tmp_path: Path, matrix, size, corner) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        track = container.add_stream("libx264", rate=10)
        track.width, track.height, track.pix_fmt = 96, 64, "yuv420p"
        picture = np.zeros((64, 96, 3), dtype=np.uint8)
        picture[:16, :16] = 255
        container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode(None))
    path = turned(tmp_path / "a.mp4", matrix)
    image = frames_at(path, timeline(path), [Fraction(0)])[0].image
    assert image.size == size
    lit = np.asarray(image.convert("L")) > 128
    assert lit.sum() == pytest.approx(256, abs=24)
    assert lit[corner[1], corner[0]], "the upper left corner of the sensor"


def test_sound_is_the_mean_of_the_channels_at_16_khz(clip: Path) -> None:
    samples, rate = decode_container_audio(clip)
    assert (samples.dtype, rate) == (np.float32, 16000)
    assert abs(len(samples) - 32000) < 1000
    inner = samples[4000:28000]
    assert abs(np.abs(inner).max() - 0.3) < 0.02
    spectrum = np.abs(np.fft.rfft(inner))
    assert spectrum.argmax() * 16000 / len(inner) == 1000


@pytest.mark.parametrize("suffix", CODECS)
def test_the_encoders_delay_is_left_out_where_it_is_told(tmp_path: Path, suffix: str) -> None:
    path = make_clip(tmp_path / f"a{suffix}", codecs=CODECS[suffix], layout="mono")
    samples, _ = decode_container_audio(path, rate=None)
    tone = 0.4 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    assert 0 <= len(samples) - 2 * RATE < 2048, "what fills up the last packet stays"
    assert np.abs(samples[4800:90000] - tone[4800:90000]).max() < 0.05


def test_the_tracks_own_rate(clip: Path) -> None:
    samples, rate = decode_container_audio(clip, rate=None)
    assert rate == RATE
    assert abs(len(samples) - 2 * RATE) < 3000
    track = sound_track(clip, timeline(clip))
    assert (track.rate, track.channels, track.begins) == (RATE, 2, 0.0)


def test_mono_sound(tmp_path: Path) -> None:
    samples, _ = decode_container_audio(make_clip(tmp_path / "a.m4a", frames=0, layout="mono"))
    assert abs(np.abs(samples[4000:28000]).max() - 0.4) < 0.02


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("seconds", [0.5, 4])
def test_a_sound_of_another_length_than_the_picture(tmp_path: Path, suffix: str, seconds: float) -> None:
    path = make_clip(tmp_path / f"a{suffix}", codecs=CODECS[suffix], seconds=seconds)
    assert decode_container_audio(path)[0].shape[0] == pytest.approx(seconds * 16000, abs=800)
    assert number_of(middle_frame(path)) == FRAMES // 2


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
    refused(make_clip(tmp_path / "a.mp4", seconds=0), "has no audio track: expected a clip", decode_container_audio)
    refused(make_clip(tmp_path / "b.mp4", frames=0), "has no video track: expected a clip", middle_frame)


def test_no_video_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", r"expected a video at .*none.mp4, found nothing")
    for content in (b"", b"<html>404</html>"):
        (tmp_path / "a.mp4").write_bytes(content)
        refused(tmp_path / "a.mp4", "cannot be read as a video")


def test_a_truncated_video(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes()[:2000])
    refused(tmp_path / "a.mp4", r"cannot be read as a video .*: it is cut off or no video")


def cut_in_half(path: Path) -> Path:
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux() if packet.pos is not None]
    path.write_bytes(path.read_bytes()[: sorted(ends)[len(ends) // 2]])
    return path


def test_a_sound_track_that_ends_early(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=0, movflags="faststart")
    decode_container_audio(path)
    refused(
        cut_in_half(path), r"is cut off: it promises 2\.0 s of sound, there are 1\.\d s; fetch", decode_container_audio
    )


def test_a_picture_that_ends_early(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", seconds=0, movflags="faststart", codecs=CODECS[".mp4"])
    refused(cut_in_half(path), r"is cut off: it promises 2\.0 s of picture, there are [01]\.\d s", middle_frame)


def without_lengths(path: Path) -> Path:
    """The Matroska or WebM file without the lengths of its tracks, as YouTube writes it."""
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"SOMETIME"))
    return path


@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_tracks_without_a_length_of_their_own(tmp_path: Path, suffix: str) -> None:
    path = without_lengths(make_clip(tmp_path / f"a{suffix}", codecs=CODECS[suffix], seconds=0.5))
    assert decode_container_audio(path)[0].shape[0] == pytest.approx(8000, abs=800), "the picture is longer"
    assert number_of(middle_frame(path)) == FRAMES // 2
    refused(cut_in_half(path), r"is cut off: it promises 2\.0 s of video, there are [01]\.\d s")


def test_titles_in_an_old_encoding(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", codecs=CODECS[".mkv"])
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURAT\xe9ON"))
    assert number_of(middle_frame(path)) == FRAMES // 2
    assert len(decode_container_audio(path)[0])


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", codecs=CODECS[".mp4"])
    path.write_bytes(path.read_bytes().replace(b"avc1", b"nope"))
    refused(path, "has a track of video that nothing here can decode: convert", middle_frame)


def test_more_channels_than_can_be_read(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        track = container.add_stream("pcm_s16le", rate=RATE, layout="hexadecagonal")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16 * 480), np.int16), format="s16", layout="hexadecagonal")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    refused(tmp_path / "a.mkv", "claims 16 channels of sound: expected at most 8", decode_container_audio)


def test_more_sound_than_memory(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MOST_SAMPLES", 2 * RATE)
    refused(clip, r"holds more than 96000 samples: expected a clip, cut it", decode_container_audio)


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
