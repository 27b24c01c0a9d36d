"""The shared trunk against torchvision's ResNet-18, and where its ImageNet weights come from."""

import math

import pytest
import torch
from torchvision.models import resnet18

from avbench.errors import AvbenchError, UsageError
from avbench.nets.resnet import Trunk, imagenet_weights, load_imagenet


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return resnet18().eval()


@pytest.fixture(scope="module")
def published_file(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18-f37072fd.pth"
    torch.save(published.state_dict(), path)
    return path


def test_is_torchvisions_resnet18_without_its_head(published, published_file):
    trunk, image = Trunk().eval(), torch.randn(2, 3, 70, 96)
    load_imagenet(trunk, str(published_file))
    head = torch.nn.Sequential(*list(published.children())[:-2])
    assert list(trunk.state_dict()) == [k for k in published.state_dict() if not k.startswith("fc.")]
    with torch.no_grad():
        assert torch.equal(trunk(image), head(image))
    assert trunk(image).shape == (2, 512, 3, 3)


@pytest.mark.parametrize(("width", "features"), [(1 / 64, 8), (0.25, 128), (1, 512), (2, 1024)])
def test_width_scales_every_layer(width, features):
    with torch.device("meta"):
        trunk = Trunk(1, width=width, stem="conv1_1")
    assert trunk.features == features
    assert trunk.conv1_1.weight.shape == (features // 8, 1, 7, 7)
    assert "conv1.weight" not in trunk.state_dict()


def test_a_width_without_channels_is_refused():
    with pytest.raises(UsageError, match=r"at least one of 64 channels, got width = 0.001"):
        Trunk(width=0.001)


def test_convolutions_start_as_torchvision_draws_them():
    torch.manual_seed(1)
    trunk = Trunk(width=0.5)
    for name, outside, side in (("conv1", 32, 7), ("layer2.0.downsample.0", 64, 1), ("layer4.1.conv2", 256, 3)):
        weight = trunk.get_submodule(name).weight
        assert weight.std().item() == pytest.approx(math.sqrt(2 / (outside * side * side)), rel=0.05), name
        assert abs(weight.mean().item()) < 0.1 * weight.std().item()


def test_imagenet_weights_of_a_file_come_without_the_classifier(published, published_file):
    found = imagenet_weights(published_file)
    assert len(found) == 120
    assert all(torch.equal(value, published.state_dict()[key]) for key, value in found.items())


def test_imagenet_weights_come_from_the_cache_folder(published_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / published_file.name).write_bytes(published_file.read_bytes())
    assert torch.equal(imagenet_weights(None)["conv1.weight"], imagenet_weights(published_file)["conv1.weight"])


def test_imagenet_weights_that_cannot_be_had_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(url, file, *, hash_prefix, progress):
        assert (url.rsplit("/", 1)[1], hash_prefix) == ("resnet18-f37072fd.pth", "f37072fd")
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(AvbenchError, match=r"resnet18-f37072fd.pth are not in .* \(no route to host\): put the file"):
        imagenet_weights(None)


def test_another_networks_weights_are_refused(published, tmp_path):
    state = published.state_dict()
    state["conv1.weight"] = state["conv1.weight"][:, :1].clone()
    state["layer5.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(AvbenchError, match=r"other.pth, but 2 are missing.*\(conv1.weight, layer5.weight\)"):
        imagenet_weights(tmp_path / "other.pth")


def test_imagenet_weights_need_the_published_width(published_file):
    with pytest.raises(UsageError, match=r"need width = 1, got 0.5"):
        load_imagenet(Trunk(width=0.5), str(published_file))
