"""``avbench figure``: its kinds, its files, and what it refuses."""

from pathlib import Path

import pytest
import torch

from avbench.checkpoints import save_checkpoint
from avbench.cli import main
from avbench.commands.figure import KINDS, example
from avbench.methods.jsa import JSA, JSAConfig


@pytest.fixture
def weights(tmp_path) -> Path:
    """A checkpoint of an untrained JSA, as small as it gets."""
    torch.manual_seed(0)
    config = JSAConfig(width=0.0625, dim=8, spectrogram_pool=4, decoders=False, lam1=0.0)
    save_checkpoint(tmp_path / "jsa", JSA(config), name="jsa", meta={})
    return tmp_path / "jsa"


@pytest.fixture
def runs(store, plugin_file, tiny_set, tmp_path, capsys) -> Path:
    given = ["--method", f"{plugin_file}:Tiny", "--split", tiny_set, "--runs", tmp_path / "runs", "--controls", "false"]
    assert main(["run", *map(str, given), "--pictures", "false", "--retrieval"]) == 0
    capsys.readouterr()
    return tmp_path / "runs"


def drawn(*arguments) -> int:
    return main(["figure", *map(str, arguments)])


def refused(capsys, *arguments) -> str:
    """The sentence of a command that is refused."""
    assert drawn(*arguments) == 2
    return capsys.readouterr().err.strip().splitlines()[-1].removeprefix("avbench: ")


def test_the_help_lists_every_kind_with_an_example(capsys):
    assert drawn() == 0
    shown = capsys.readouterr().out
    for kind in KINDS:
        assert f"\n    {kind}" in shown
        assert f"\n  avbench figure {kind} " in shown


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_help(capsys, kind):
    with pytest.raises(SystemExit, match="0"):
        drawn(kind, "--help")
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: avbench figure {kind}")
    assert example(kind) in shown


def test_an_unknown_kind_is_answered_with_the_closest(capsys):
    assert refused(capsys, "retreival", "runs") == (
        "there is no command of avbench figure called 'retreival': did you mean retrieval? avbench figure "
        "--help shows all"
    )


@pytest.mark.parametrize(
    "given",
    [
        ("success", "runs", "-o", "a.pdf", "--samples", "x"),
        ("success", "runs", "-o", "a.pdf", "--top", "3"),
        ("retrieval", "runs", "-o", "a.pdf", "--protocol", "jsa"),
        ("attention", "--method", "jsa", "--split", "demo", "-o", "a.pdf", "--batch", "4"),
        ("false-negatives", "--method", "jsa", "--split", "demo", "-o", "a.pdf", "--samples", "x"),
        ("curves", "here", "-o", "a.pdf", "--method", "jsa"),
    ],
)
def test_options_of_another_kind_are_refused(capsys, given):
    with pytest.raises(SystemExit, match="2"):
        drawn(*given)
    assert "nrecognized" in capsys.readouterr().err


def test_retrieval_in_all_formats_and_the_same_bytes_again(capsys, runs, tiny_set, tmp_path):
    outs = [tmp_path / f"a.{suffix}" for suffix in ("pdf", "svg", "png")]
    again = [out.with_stem("b") for out in outs]
    for files in (outs, again):
        given = ["--data", tiny_set, "--count", 1, "--top", 2, "-o", ",".join(map(str, files))]
        assert drawn("retrieval", runs, *given) == 0
    assert [out.read_bytes()[:4] for out in outs] == [b"%PDF", b"<?xm", b"\x89PNG"]
    assert [out.read_bytes() for out in outs] == [out.read_bytes() for out in again]
    assert capsys.readouterr().err.count("figure: ") == 6


def test_attention_and_its_progress(capsys, store, weights, tiny_set, tmp_path):
    out = tmp_path / "attention.png"
    given = ["--method", "jsa", "--checkpoint", weights, "--split", tiny_set, "--device", "cpu"]
    assert drawn("attention", *given, "--samples", "clip_001", "-o", out) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert capsys.readouterr().err.splitlines()[-2:] == ["asking jsa about tiny: 1", f"figure: {out}"]


def test_false_negatives_under_a_setting_on_top_of_the_weights(capsys, store, weights, tiny_set, tmp_path):
    out = tmp_path / "negatives.svg"
    given = ["--method", "jsa", "--checkpoint", weights, "--split", tiny_set, "--device", "cpu", "--batch", 5]
    assert drawn("false-negatives", *given, "--set", "reciprocal_k=4", "-o", out) == 0
    assert "<svg" in out.read_text()
    assert refused(capsys, "false-negatives", *given, "-o", out) == (
        "reciprocal_k = 20 needs batches of more than 20 samples, got 5: lower it or raise them"
    )


def test_curves_are_those_of_the_other_command(tmp_path):
    row = '{"epoch": 0, "split": "mine", "purpose": "validation", "n": 9, "locacc": 0.5}\n'
    (tmp_path / "evaluations.jsonl").write_text(row)
    outs = [tmp_path / name for name in ("a.png", "b.svg")]
    assert drawn("curves", tmp_path, "-o", ",".join(map(str, outs))) == 0
    assert all(out.exists() for out in outs)
    main(["curves", str(tmp_path), "--out", str(tmp_path / "c.png")])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "c.png").read_bytes()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("success", "runs", "-o", "a.gif"), "expected --out FILE ending in .pdf or .svg or .png, got 'a.gif'"),
        (("success", "runs", "-o", "a.pdf,a.pdf"), "the file 'a.pdf' is named twice in 'a.pdf,a.pdf': name it once"),
        (
            ("grid", "runs", "-o", "a.pdf", "--seed", 1),
            "--seed is for samples that are chosen at random, and these are even: leave it out",
        ),
        (
            ("grid", "runs", "-o", "a.pdf", "--samples", "x,y", "--count", 2),
            "--count is for samples that are chosen, and --samples names these: leave one of them out",
        ),
        (("grid", "runs", "-o", "a.pdf", "--count", 0), "expected --count of at least 1, got 0"),
        (
            ("retrieval", "runs", "-o", "a.pdf", "--samples", "differ"),
            "expected --samples even, random or ids for this figure, got 'differ'",
        ),
        (
            ("retrieval", "runs", "-o", "a.pdf", "--direction", "sound-to-imag"),
            "there is no direction called 'sound-to-imag': did you mean sound-to-image? avbench figure retrieval "
            "--help shows all",
        ),
        (
            ("bump", "runs", "-o", "a.pdf", "--selection", "oracel"),
            "there is no selection called 'oracel': did you mean oracle? the list last, validation, oracle, unknown, "
            "none shows all",
        ),
        (
            ("false-negatives", "--method", "jsa", "--split", "demo", "-o", "a.pdf", "--batch", 1),
            "expected --batch of at least 2, got 1",
        ),
    ],
)
def test_what_is_refused_before_anything_is_read(capsys, given, sentence):
    assert refused(capsys, *given) == sentence
