"""Settings by which methods see and hear as official data paths do, in testing alone."""

import pytest

from avbench.errors import UsageError
from avbench.frontends import ScipySpectrogram
from avbench.registry import find_method, load_class, make_config
from avbench.types import Window

MIDDLE = Window(3.0, "centre-seconds", "pyav")
CLIP = (56_000, 104_000)


def in_testing(name, **settings):
    return built(name, **settings).eval()


def built(name, **settings):
    cls = load_class(find_method(name))
    return cls(make_config(cls.config_class, {"width": 0.0625, **settings}))


@pytest.mark.parametrize("name", ["ezvsl", "slavc", "fnac"])
def test_channels_are_mixed_as_by_the_official_reader(name):
    assert in_testing(name).frontend == ScipySpectrogram(MIDDLE)


@pytest.mark.parametrize(
    ("name", "settings", "window"),
    [
        ("alignment", {}, Window(3.0)),
        ("alignment", {"channels": "first"}, Window(3.0, channels="first")),
        ("alignment", {"clip_seconds": 10}, Window(10.0, "start", part=CLIP)),
        ("alignment", {"clip_seconds": 5, "channels": "first"}, Window(5.0, "start", "first", (16_000, 64_000))),
        ("lvs", {}, Window(10.0, "start")),
        ("lvs", {"channels": "first"}, Window(10.0, "start", "first")),
        ("lvs", {"seconds": 3, "clip_seconds": 10}, Window(10.0, "start", part=CLIP)),
        ("ezvsl", {"clip_seconds": 10}, Window(10.0, "rolled", "pyav")),
        ("slavc", {"clip_seconds": 5}, Window(5.0, "rolled", "pyav")),
        ("jsa", {}, Window(5.0)),
        ("jsa", {"channels": "each"}, Window(5.0, channels="each")),
    ],
)
def test_what_is_heard(name, settings, window):
    assert in_testing(name, **settings).frontend.window == window


@pytest.mark.parametrize("name", ["ezvsl", "slavc"])
def test_of_a_rolled_clip_the_middle_columns_are_kept(name):
    assert in_testing(name, clip_seconds=10).frontend.frames == 200
    assert in_testing(name).frontend.frames is None


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("alignment", {"clip_seconds": 10}),
        ("lvs", {"seconds": 3, "clip_seconds": 10}),
        ("ezvsl", {"clip_seconds": 10}),
        ("slavc", {"clip_seconds": 10}),
        ("jsa", {"channels": "each"}),
    ],
)
def test_training_hears_as_without_the_setting(name, settings):
    method = built(name, **settings)
    plain = built(name, **({"seconds": 3} if name == "lvs" else {}))
    assert method.train().frontend == plain.train().frontend
    assert method.eval().frontend != plain.eval().frontend
    assert method.train().frontend == plain.train().frontend


@pytest.mark.parametrize("name", ["alignment", "ezvsl", "fnac", "lvs", "slavc"])
def test_how_pictures_are_seen(name):
    assert in_testing(name).picture == "squash"
    for picture in ("centre-crop", "tensor"):
        assert in_testing(name, picture=picture).picture == picture
    with pytest.raises(UsageError, match="picture"):
        built(name, picture="stretched")


def test_clips_too_short_for_the_window_are_refused():
    with pytest.raises(UsageError, match="the middle 3 s of a longer clip are heard, got clip_seconds = 2"):
        in_testing("alignment", clip_seconds=2)
