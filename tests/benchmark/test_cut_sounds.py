"""Sounds that end before their headers say, in every kind of wav."""

import numpy as np
import pytest
import soundfile

from avbench.data.sound_files import read_sound
from avbench.errors import AvbenchError

KINDS = {
    "riff": {"format": "WAV"},
    "rifx": {"format": "WAV", "endian": "BIG"},
    "rf64": {"format": "RF64"},
    "w64": {"format": "W64"},
    "extensible": {"format": "WAVEX"},
}


def write(place, *, kind, samples=16_001):
    values = np.arange(samples, dtype=np.int16)
    soundfile.write(place, values, 16_000, subtype="PCM_16", **KINDS[kind])
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_sound_is_read_and_a_cut_one_refused(tmp_path, kind):
    place = tmp_path / "a.wav"
    values = write(place, kind=kind)
    samples, rate = read_sound(place)
    assert rate == 16_000
    np.testing.assert_array_equal(samples[:, 0], values)
    content = place.read_bytes()
    for kept in (len(content) // 2, len(content) - 200):
        place.write_bytes(content[:kept])
        with pytest.raises(AvbenchError, match=r"a\.wav is cut off: its header promises \d+ bytes, there are \d+"):
            read_sound(place)


def test_the_size_of_the_samples_counts_where_the_size_of_the_file_was_mended(tmp_path):
    place = tmp_path / "a.wav"
    write(place, kind="riff")
    content = bytearray(place.read_bytes()[:10_000])
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    place.write_bytes(content)
    with pytest.raises(AvbenchError, match=r"promises 32046 bytes, there are 10000"):
        read_sound(place)


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xf0\xff\xff\x7f"])
def test_a_sound_that_was_written_to_a_pipe_has_no_size(tmp_path, size):
    place = tmp_path / "a.wav"
    values = write(place, kind="riff")
    content = bytearray(place.read_bytes())
    data = content.index(b"data")
    content[4:8] = size
    if size != b"\0\0\0\0":
        content[data + 4 : data + 8] = size
    place.write_bytes(content)
    np.testing.assert_array_equal(read_sound(place)[0][:, 0], values)
