"""Two processes, data parallel or sharded, do what one process does."""

from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from oversight.routing import parameter_groups, pin, routing, skip_unreached
from tests.oversight.routing.networks import TABLE, Branches
from tests.processes import in_processes

# [steps, batch]: in the first step only one process holds a sample for `left`, in others none does
ROUTES = torch.tensor([[1, 2, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2], [0, 1, 2, 0]])
SKIPPED = [(), ("left",), ("left",), ()]


def network() -> Branches:
    net = Branches().double()
    pin(net.head, "weight", torch.tensor([[1.0, 0.0], [-0.5, 1.0]]))
    return net


def train(net: Branches, model: nn.Module, share: slice) -> dict[str, Tensor]:
    """Train `net` through its wrapper `model` on a share of each batch."""
    targets: dict[str, nn.Module] = {"left": net.left, "right": net.right}
    groups = parameter_groups(net, targets, weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups, lr=0.05)
    inputs = torch.randn(*ROUTES.shape, 3, generator=torch.Generator().manual_seed(1))
    for x, route, skipped in zip(inputs.double(), ROUTES, SKIPPED, strict=True):
        optimizer.zero_grad()
        with routing(model, TABLE, route[share]):
            model(x[share]).square().mean().backward()
        assert skip_unreached(optimizer) == skipped
        optimizer.step()
    return {name: full(parameter.detach()) for name, parameter in net.named_parameters()}


def full(tensor: Tensor) -> Tensor:
    whole: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole


def train_together(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Train data parallel and sharded; in each process."""
    rank = dist.get_rank()
    share = slice(2 * rank, 2 * rank + 2)
    net = network()
    results = {"data parallel": train(net, DistributedDataParallel(net), share)}
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    net = network()
    for part in (net.trunk, net.left, net.right, net):
        fully_shard(part, mesh=mesh)
    results["sharded"] = train(net, net, share)
    for parameter in net.left.parameters():  # a gradient in the shard of one process only
        parameter.grad = torch.zeros_like(parameter)
        cast(DTensor, parameter.grad).to_local().fill_(1 - rank)
    optimizer = torch.optim.SGD(parameter_groups(net, {"left": net.left}))
    assert skip_unreached(optimizer) == ()
    return results


def test_distributed_gradients_equal_those_of_one_process(tmp_path: Path) -> None:
    net = network()
    single = train(net, net, slice(None))
    results = in_processes(train_together, tmp_path)
    assert results.keys() == {"data parallel", "sharded"}
    for result in results.values():
        torch.testing.assert_close(result, single, rtol=1e-9, atol=1e-12)
