import torch
from torch import nn

from classifier.network import build
from featurizer.mobilenetv2 import MobileNetV2
from training.cost import macs, parameters, recurrent_macs


def test_mobilenet_costs_what_its_paper_says() -> None:
    network = MobileNetV2().eval()
    counted = macs(network, torch.zeros(1, 3, 224, 224))
    assert 295e6 < counted < 305e6
    assert parameters(network) == 2_223_872


def test_the_system_keeps_to_the_patents_size() -> None:
    """Together with MobileNetV2, for 14 labels: 3,299,342 parameters."""
    head = build("residual_attention", 14)
    assert parameters(head) == 3_299_342 - 2_223_872
    per_step = recurrent_macs(head, 1)
    assert per_step == 4 * 128 * (1280 + 128) + 2 * 4 * 128 * (128 + 128)


def test_linear_layers_are_counted_once_a_row() -> None:
    assert macs(nn.Linear(10, 20), torch.zeros(3, 10)) == 3 * 10 * 20
