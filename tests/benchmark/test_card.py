"""Cards: counts by hand and as published, what inference reads, memory of known size, and the command."""

import csv
import io
import json
from contextlib import redirect_stdout

import pytest
import torch
import torchvision
from torch import nn

from avbench import measuring
from avbench.cli import main
from avbench.frontends import ScipySpectrogram
from avbench.measuring import count, example_batch, measure, peak_rise, times, watch
from avbench.registry import MethodInfo, describe, find_method, load_class, make_config, method_names
from avbench.types import Embeddings, Prediction, Window

SLIM = {"width": 1 / 16, "dim": 16, "out_dim": 16, "reciprocal_k": 2}

# On the CPU, PyTorch 2.11 writes outside its memory in the gradient of a channels-last 1 x 1 convolution of stride 2
# with fewer than 16 channels, which ResNet-18 has at widths below 1/4: what is trained here is wider.
TRAINED = {"width": 1 / 4, "out_dim": 16}


def slim(name, **more):
    cls = load_class(find_method(name))
    known = cls.config_class.__dataclass_fields__
    return cls(make_config(cls.config_class, {k: v for k, v in {**SLIM, **more}.items() if k in known}))


def slim_options(*names, values=SLIM):
    known = {name: load_class(find_method(name)).config_class.__dataclass_fields__ for name in names}
    return [f"--set={name}.{key}={value}" for name in names for key, value in values.items() if key in known[name]]


def size(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


class Halves(nn.Module):
    """A method with a part for each way in which a parameter can be used, or not."""

    info = MethodInfo("halves")
    frontend = ScipySpectrogram()

    def __init__(self, *, looks=False):
        super().__init__()
        self.used, self.momentum, self.for_embeddings = (nn.Linear(3, 4) for _ in range(3))
        self.for_training = nn.Linear(3 * 8 * 8, 999, bias=False)
        self.momentum.requires_grad_(False)
        self.without_gradient = nn.Parameter(torch.zeros(5))
        self.register_buffer("steps", torch.zeros(2))
        self.looks = looks

    def localize(self, batch):
        colours = batch.image.mean(dim=(2, 3))
        if self.looks and colours.max().item() < -100:
            colours = colours + 1
        kept = self.without_gradient.detach().sum().sign()
        return Prediction((self.used(colours) + self.momentum(colours) + kept)[:, :, None])

    def embed(self, batch):
        return Embeddings(self.for_embeddings(batch.image.mean(dim=(2, 3))), torch.zeros(len(batch.ids), 4))

    def loss(self, batch):
        cells = nn.functional.adaptive_avg_pool2d(batch.image, 8).flatten(1)
        return {"total": self.for_training(cells).square().mean()}


def test_a_convolution_counts_as_by_hand():
    layer, x = nn.Conv2d(3, 8, kernel_size=3, padding=1), torch.randn(2, 3, 10, 12)
    macs = 2 * 8 * 10 * 12 * (3 * 3 * 3)
    assert watch(lambda: layer(x)).flops == 2 * macs
    assert watch(lambda: layer(x).sum().backward()).flops == 2 * macs + 2 * macs  # no gradient of the input


def test_a_linear_layer_counts_as_by_hand():
    layer, x = nn.Linear(5, 7), torch.randn(4, 5, requires_grad=True)
    macs = 4 * 5 * 7
    assert watch(lambda: layer(x)).flops == 2 * macs
    assert watch(lambda: layer(x).sum().backward()).flops == 3 * 2 * macs


def test_additions_and_activations_do_not_count():
    assert watch(lambda: (torch.ones(9, 9) + 1).relu().sum()).flops == 0


def test_resnet18_counts_as_torchvision_publishes():
    published = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["_ops"]  # in 10^9 multiply-accumulates
    with torch.device("meta"):
        net, x = torchvision.models.resnet18().eval(), torch.empty(1, 3, 224, 224)
    flops = watch(lambda: net(x)).flops
    assert f"{flops / 1e9:.2f}" == "3.63"
    assert f"{flops / 2e9:.2f}" == f"{published:.2f}" == "1.81"


@pytest.mark.parametrize("looks", [False, True])
def test_inference_counts_what_localize_reads(looks):
    method = Halves(looks=looks)
    found = count(method, 2)
    assert found.parameters == 3 * 16 + 192 * 999 + 5
    assert found.trainable == 2 * 16 + 192 * 999 + 5
    assert found.inference == 2 * 16 + 5
    assert found.buffers == 2
    assert found.localize_flops == 2 * 2 * 3 * 4
    assert found.step_flops == 2 * 2 * 192 * 999
    assert found.prediction.map.shape == (2, 4, 1)
    assert found.embeddings.image.shape == (2, 4)


def test_counting_and_measuring_leave_the_method_as_it_was(monkeypatch):
    monkeypatch.setattr(measuring, "REPETITIONS", (1, 1))
    method = slim("ezvsl", **TRAINED).eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    count(method, 2)
    measure(method, 2)
    assert not method.training
    assert all(p.grad is None and p.device.type == "cpu" for p in method.parameters())
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())


def test_jsa_infers_without_decoders_and_mask_tokens():
    found, method = count(slim("jsa"), 4), slim("jsa")
    unread = size(method.img_decoder, method.aud_decoder) + 2 * SLIM["dim"]
    assert found.inference == found.parameters - unread
    assert found.parameters == size(method)


def test_slavc_infers_without_its_momentum_copies():
    found = count(slim("slavc"), 4)
    assert found.inference == found.trainable == found.parameters // 2
    swapped = count(slim("slavc", use_mom_eval=True), 4)
    assert swapped.inference == swapped.trainable


def test_flops_per_sample_do_not_depend_on_the_batch():
    assert count(slim("ezvsl"), 2).localize_flops == count(slim("ezvsl"), 5).localize_flops > 0


def test_what_the_loss_asks_for_is_in_the_batch():
    method = slim("ezvsl")
    method.views, method.wants_truth = ("augmented", "conceptual"), True
    needs = ("image", "audio")
    plain, full = (example_batch(method, needs, 3, training=training) for training in (False, True))
    assert (plain.truth, plain.annotated, plain.image_views, plain.audio_views) == (None, None, {}, {})
    assert full.truth.shape == (3, 224, 224)
    assert full.truth.unique().tolist() == [0, 1]
    assert full.annotated.tolist() == [True] * 3
    assert [(k, v.shape) for k, v in full.image_views.items()] == [(k, full.image.shape) for k in method.views]
    assert [(k, v.shape) for k, v in full.audio_views.items()] == [(k, full.audio.shape) for k in method.views]
    assert full.audio.shape == (3, 1, 257, 200)
    assert not torch.equal(full.image_views["augmented"], full.image)


def test_memory_is_the_most_that_tensors_hold_at_a_time():
    def one_after_another():
        for _ in range(3):
            torch.empty(1000, 1000)

    def together():
        kept = [torch.empty(1000, 1000) for _ in range(3)]
        kept.clear()
        torch.empty(500)

    cpu = torch.device("cpu")
    assert peak_rise(one_after_another, cpu) == 4_000_000
    assert peak_rise(together, cpu) == 12_000_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_memory_on_a_gpu():
    found = peak_rise(lambda: [torch.empty(1000, 1000, device="cuda") for _ in range(3)], torch.device("cuda"))
    assert 12_000_000 <= found < 13_000_000


def test_memory_holds_weights_batch_gradients_and_moments(monkeypatch):
    monkeypatch.setattr(measuring, "REPETITIONS", (1, 1))
    found = measure(Halves(), 2)
    trained = 4 * 192 * 999
    standing = 4 * (3 * 16 + 5 + 2) + trained + 4 * 2 * (3 * 224 * 224 + 257 * 200)
    assert standing < found.localize.peak_bytes < standing + 1000
    # The gradient, two moments, and the square root and quotient of one of them, which Adam makes on the CPU.
    assert 5 * trained <= found.step.peak_bytes - standing < 5 * trained + 20_000


def test_repetitions_are_as_many_as_time_allows(monkeypatch):
    calls = []
    cpu = torch.device("cpu")
    assert len(times(lambda: calls.append(0), cpu)) == measuring.REPETITIONS[1]
    assert len(calls) == measuring.REPETITIONS[1] + measuring.WARM_UP["cpu"]
    monkeypatch.setattr(measuring, "ENOUGH_SECONDS", 0.0)
    assert len(times(lambda: None, cpu)) == measuring.REPETITIONS[0]


@pytest.fixture(scope="module")
def full_width():
    """What ``avbench card ezvsl,jsa --no-measure`` prints."""
    with redirect_stdout(io.StringIO()) as shown:
        assert main(["card", "ezvsl,jsa", "--no-measure"]) == 0
    return shown.getvalue()


def test_the_published_table_of_parameters(full_width, shared):
    with (shared / "published" / "jsa-supp-1.csv").open(encoding="utf-8") as file:
        published = [row["value"] for row in csv.DictReader(file)]
    ezvsl, jsa = last_table(full_width)
    training, inference = "parameters, training (M)", "parameters, inference (M)"
    assert [ezvsl[training], jsa[training], jsa[inference]] == published


def test_parameters_at_full_width(full_width):
    for figure in ("22.87 M (22,872,064)", "31.82 M (31,818,498)", "29.71 M (29,707,264)"):
        assert figure in full_width
    assert [(row["parameters, training (M)"], row["parameters, inference (M)"]) for row in last_table(full_width)] == [
        ("22.87", "22.87"),
        ("31.82", "29.71"),
    ]


def last_table(text):
    """The rows of the last table in ``text``, as dictionaries."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    last = max(i for i, line in enumerate(lines) if set(line) <= set("|-:"))
    titles, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[last - 1 :])
    return [dict(zip(titles, row, strict=True)) for row in rows[1:]]


def test_a_card_says_what_a_method_is(capsys):
    assert main(["card", "jsa", "--no-measure", *slim_options("jsa")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    info = describe(find_method("jsa"))
    for text in (
        f"| what it is | {info.summary}",
        f"| paper | {info.paper}",
        f"| official code | {info.official}",
        f"| labels in training | {info.labels}",
        f"| pretrained parts | {info.pretrained}",
        "| reads | image and audio",
        "the middle 5 s at 16 kHz; n_fft 512; hop 160; eps 1e-07; divide 12.0; pool 1; in training eps 1e-08 |",
        "| spectrogram | 257 x 501, frequencies by frames |",
        "| map | 7 x 7, scores in [0, 1] |",
        "| further maps | image_query |",
        "| confidence | one number per sample, of its own |",
        "| embeddings | image 16, audio 16, compared by",
        "| settings changed | width = 0.0625, dim = 16, reciprocal_k = 2 |",
        "1 multiply-accumulate = 2 FLOPs",
    ):
        assert text in shown
    assert "Comparison" not in shown
    assert "Measured on" not in shown


def test_a_window_of_its_own_in_training_is_told(capsys):
    assert main(["card", "lvs", "--no-measure", *slim_options("lvs")]) == 0
    shown = capsys.readouterr().out
    assert "; the first 10 s at 16 kHz; " in shown
    assert "; in training the middle 3 s at 16 kHz " in shown


def test_a_measured_card_says_where_and_how(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "REPETITIONS", (1, 1))
    out = tmp_path / "deep" / "cards.md"
    given = [
        "card",
        "ezvsl,whole",
        "--device=cpu",
        "--batch-size=2",
        *slim_options("ezvsl", values=TRAINED),
        "--out",
        str(out),
    ]
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert out.read_text() == shown
    assert f"Measured on cpu ({torch.get_num_threads()} thread" not in shown
    assert f", {torch.get_num_threads()} thread(s)) with PyTorch {torch.__version__}, in float32" in shown
    assert "MB for a batch of 2 " in shown
    learner, control = last_table(shown)
    costs = ["ms, localize", "ms, training step", "peak MB, localize", "peak MB, training step"]
    assert all(float(learner[title]) > 0 for title in costs)
    assert [control[title] for title in costs[1::2]] == ["", ""]
    assert float(learner[costs[3]]) > float(learner[costs[2]])


def test_cards_as_json(capsys, monkeypatch):
    monkeypatch.setattr(measuring, "REPETITIONS", (1, 1))
    settings = slim_options("ezvsl", values=TRAINED)
    assert main(["card", "ezvsl,oracle-all", "--json", "--batch-size=2", *settings]) == 0
    learner, control = json.loads(capsys.readouterr().out)
    assert learner["parameters"]["parameters"] == size(slim("ezvsl", **TRAINED))
    assert (learner["map"], learner["spectrogram"], learner["embeddings"]["image"]) == ([7, 7], [257, 200], [16, 7, 7])
    assert learner["config"]["width"] == 1 / 4
    assert learner["flops"]["training_step"] > 2 * learner["flops"]["localize"] > 0
    assert learner["measured"]["localize"]["repetitions"] == 1
    assert learner["measured"]["device"] == "cpu"
    assert control["reads"] == ["objects"]
    assert control["measured"]["step"] is None
    assert (control["spectrogram"], control["embeddings"], control["flops"]["training_step"]) == (None, None, None)


def test_all_are_the_methods_that_are_no_controls(capsys):
    wanted = [name for name in method_names() if not describe(find_method(name)).control]
    assert main(["card", "all", "--no-measure", "--json", "--batch-size=3", *slim_options(*wanted)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [card["method"] for card in found] == wanted
    assert all(0 < card["parameters"]["inference"] <= card["parameters"]["parameters"] for card in found)
    assert all(card["flops"]["training_step"] > 0 for card in found)


def test_a_plugin_and_a_checkpoint(capsys, trainable_plugin, tmp_path):
    from avbench.checkpoints import save_checkpoint

    save_checkpoint(tmp_path / "made", slim("ezvsl"), name="ezvsl", meta={})
    assert main(["card", "ezvsl", "--checkpoint", str(tmp_path / "made"), "--no-measure", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert card["config"]["width"] == 1 / 16
    assert card["checkpoint"] == str(tmp_path / "made")
    assert main(["card", f"{trainable_plugin}:Tiny", "--no-measure", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["method"], card["parameters"]["inference"], card["origin"]) == ("learner", 1, str(trainable_plugin))


def test_a_front_end_of_ones_own_is_told_by_its_first_line(capsys, tmp_path, trainable_plugin):
    own = "class Loud:\n    '''Loudness alone.'''\n    window = Window(2.0, 'start')\n"
    own += "    def __call__(self, waveform, rate):\n        return waveform.abs().mean(1)[:, None, None, None]\n\n"
    text = trainable_plugin.read_text().replace("@dataclass", f"from avbench.types import Window\n{own}@dataclass", 1)
    place = tmp_path / "loud.py"
    place.write_text(text.replace("self.frontend = ScipySpectrogram()", "self.frontend = Loud()"))
    assert main(["card", f"{place}:Tiny", "--no-measure", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["frontend"], card["spectrogram"]) == ("Loudness alone; the first 2 s at 16 kHz", [1, 1])
    assert Window(2.0, "start").anchor == "start"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["ezvls"], "there is no method called 'ezvls': did you mean ezvsl"),
        (["ezvsl,jsa", "--set=width=1"], "could be for any of ezvsl, jsa"),
        (["ezvsl", "--batch-size=0"], "expected --batch-size of at least 1, got 0"),
        (["ezvsl", "--device=gpu"], "expected --device auto, cpu, cuda"),
        (["ezvsl", "--out=cards.txt"], "expected --out FILE ending in .md, got 'cards.txt'"),
        (["ezvsl", "--out="], "expected --out FILE ending in .md, got ''"),
        (["ezvsl", "--checkpoint=a.pth"], "found nothing at a.pth"),
        (["jsa", "--no-measure", "--batch-size=4", "--set=width=0.0625"], "reciprocal_k = 20 needs batches of more"),
    ],
)
def test_bad_requests_are_one_sentence(capsys, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    assert main(["card", *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("avbench: ")
    assert message in error


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("self.weight = nn", "{}['no such key']; self.weight = nn", "KeyError was raised ('no such key')"),
        ("loudness = batch", "[][1]; loudness = batch", "IndexError was raised (list index out of range)"),
        ("total = (", "[][1]; total = (", "IndexError was raised (list index out of range)"),
    ],
)
def test_what_a_method_raises_is_told_in_one_sentence(capsys, trainable_plugin, old, new, message):
    trainable_plugin.write_text(trainable_plugin.read_text().replace(old, new))
    line = trainable_plugin.read_text()[: trainable_plugin.read_text().index(new)].count("\n") + 1
    assert main(["card", f"{trainable_plugin}:Tiny", "--no-measure", "--batch-size=2"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("avbench: expected an answer, but ")
    assert message in error
    assert error.endswith(f"see trainable_plugin.py, line {line}")


def test_an_infinite_end_of_the_score_range_is_null(capsys, trainable_plugin):
    text = trainable_plugin.read_text()
    trainable_plugin.write_text(text.replace("    def loss", "    score_range = (0.0, float('inf'))\n\n    def loss"))
    assert main(["card", f"{trainable_plugin}:Tiny", "--no-measure", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["score_range"] == [0.0, None]


def test_all_may_stand_in_a_list(capsys):
    from avbench.commands.card import _parser, _requests

    every = [name for name in method_names() if not describe(find_method(name)).control]
    found = [request.ref.name for request in _requests(_parser().parse_args(["disc,all,jsa"]))]
    assert found == ["disc", *(name for name in every if name != "jsa"), "jsa"]
