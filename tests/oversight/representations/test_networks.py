"""Which gradients reach which part of a network."""

import pytest
import torch
from torch import Tensor, nn

from oversight.representations.config import RunConfig, Task
from oversight.representations.networks import SplitNetwork, build_network, route_table
from oversight.routing import routing
from tests.oversight.representations.tiny_runs import tiny_images, tiny_run

SHAPE = (4, 4)


def network_of(config: RunConfig) -> SplitNetwork:
    torch.manual_seed(0)
    return build_network(config, SHAPE)


def code_gradient(config: RunConfig, group: Tensor, *, routed: bool = True) -> Tensor:
    """Return the gradient of the sum of all outputs of the decoder with respect to the code."""
    network, images = network_of(config), tiny_images(shape=SHAPE).train[: len(group)]
    code = network.encode(images)
    with routing(network, route_table(config, routed=routed), group):
        loss = network.decode(code, group).square().sum()
        (grad,) = torch.autograd.grad(loss, code)
    return grad


@pytest.mark.parametrize("task", ["reconstruct", "classify"])
@pytest.mark.parametrize("parts", [2, 5])
def test_image_teaches_only_the_part_of_its_group(parts: int, task: Task) -> None:
    config = tiny_run(parts=parts, code_size=2 * parts, task=task)
    group = torch.arange(parts).repeat(2)
    grad = code_gradient(config, group).reshape(len(group), -1, config.code_size)
    for row, own in enumerate(group.tolist()):
        for part, columns in enumerate(torch.split(grad[row], list(config.part_sizes), -1)):
            assert bool((columns != 0).any()) == (part == own)


def test_encoder_weights_of_the_wrong_part_get_exactly_no_gradient() -> None:
    config = tiny_run()
    network, images = network_of(config), tiny_images(shape=SHAPE).train[:8]
    group = torch.zeros(8, dtype=torch.int64)
    with routing(network, route_table(config, routed=True), group):
        network.decode(network.encode(images), group).square().sum().backward()  # type: ignore[no-untyped-call]
    last = [layer for layer in network.encoder.modules() if isinstance(layer, nn.Linear)][-1]
    assert last.weight.grad is not None
    assert (last.weight.grad[:3] != 0).any()
    assert (last.weight.grad[3:] == 0).all()


def test_unlabeled_images_and_unrouted_tables_teach_all_parts() -> None:
    config = tiny_run()
    unlabeled = torch.full((4,), config.parts)
    assert (code_gradient(config, unlabeled) != 0).all()
    assert (code_gradient(config, torch.tensor([0, 1]), routed=False) != 0).all()


def test_groups_that_are_not_routed_teach_all_parts() -> None:
    grad = code_gradient(tiny_run(routed_groups=(1,)), torch.tensor([0, 1]))
    assert (grad[0] != 0).all()
    assert (grad[1, :3] == 0).all()
    assert (grad[1, 3:] != 0).all()


def test_one_pass_equals_two_passes_with_detached_halves() -> None:
    """The shipped code of the paper decodes twice, with one half of the code detached each time."""
    config = tiny_run()
    network, images = network_of(config), tiny_images(shape=SHAPE).train[:6]
    group = torch.tensor([0, 1, 0, 0, 1, 1])
    with routing(network, route_table(config, routed=True), group):
        loss = network.decode(network.encode(images), group).abs().sum()
        routed = torch.autograd.grad(loss, list(network.encoder.parameters()))
    code = network.encode(images)
    halves = torch.split(code, 3, -1)
    decoder = network.decoders[0]
    first = decoder(torch.cat([halves[0], halves[1].detach()], -1))[group == 0].abs().sum()
    second = decoder(torch.cat([halves[0].detach(), halves[1]], -1))[group == 1].abs().sum()
    twice = torch.autograd.grad(first + second, list(network.encoder.parameters()))
    for one, other in zip(routed, twice, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("task", ["reconstruct", "classify"])
def test_certificates_send_no_gradient_to_the_encoder(task: Task) -> None:
    network = network_of(tiny_run(task=task))
    outputs = network.certify(network.encode(tiny_images(shape=SHAPE).train))
    torch.stack([each.square().sum() for each in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    reached = [parameter.grad is not None for parameter in network.certificates.parameters()]
    assert all(reached)


def test_certificate_depends_on_its_own_part_alone() -> None:
    network = network_of(tiny_run())
    code = torch.randn(3, 6)
    changed = code.clone()
    changed[:, 3:] += 1
    before, after = network.certify(code), network.certify(changed)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_separate_decoders_each_decode_their_own_group() -> None:
    network = network_of(tiny_run(separate_decoders=True))
    code, group = torch.randn(5, 6), torch.tensor([1, 0, 1, 1, 0])
    with torch.no_grad():
        outputs = network.decode(code, group)
        for row, own in enumerate(group.tolist()):
            assert torch.allclose(outputs[row], network.decoders[own](code[row]), atol=1e-6)


def test_encoder_of_the_paper_has_its_widths_and_no_last_bias() -> None:
    network = build_network(RunConfig(hidden_sizes=(2048, 512), code_size=32), (28, 28))
    layers = [layer for layer in network.encoder.modules() if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [(2048, 784), (512, 2048), (32, 512)]
    assert [layer.bias is None for layer in layers] == [False, False, True]
    certificate = [m for m in network.certificates[0].modules() if isinstance(m, nn.Linear)]
    assert [layer.weight.shape[1] for layer in certificate] == [16, 512, 2048]


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (1, 40)])
def test_classifier_takes_images_and_signals(shape: tuple[int, int]) -> None:
    network = build_network(tiny_run(task="classify", hidden_sizes=(4, 5)), shape)
    with torch.no_grad():
        code = network.encode(torch.zeros(3, shape[0] * shape[1]))
        assert code.shape[-1] == 6
        assert network.decode(code, torch.zeros(3, dtype=torch.int64)).shape == (3, 10)


def test_code_of_a_classifier_does_not_depend_on_the_other_images_of_a_batch() -> None:
    network = network_of(tiny_run(task="classify", hidden_sizes=(4, 5)))
    images = tiny_images(shape=SHAPE).train[:6]
    with torch.no_grad():
        assert torch.allclose(network.encode(images)[:2], network.encode(images[:2]), atol=1e-6)
