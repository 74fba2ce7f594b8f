"""How much gradient the samples of each route send to each target in an update of routed PPO.

The loss of a minibatch is a sum over its samples, so it is split into one loss for each route, and
`oversight.routing.audit` measures the gradient of each of them at every target. A reward source
that fits networks of its own adds what its remembered steps send to these.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from agents.losses import Objective, normalized
from agents.ppo import RoutedPPO
from agents.rollout_buffer import RoutedSamples, in_route_order
from oversight.routing import RouteTable, audit

Norms = dict[str, dict[str, float]]
"""The norm of a gradient, by route and target."""


def audit_rollout(agent: RoutedPPO, count: int) -> Norms:
    """Collect a rollout, and return what an update from it would send; nothing is trained.

    Args:
        agent: an agent with an environment, perhaps restored from a checkpoint.
        count: as for `audit_update`.
    """
    assert agent.env is not None
    _, callback = agent._setup_learn(agent.n_steps * agent.n_envs, reset_num_timesteps=False)
    agent.collect_rollouts(agent.env, callback, agent.rollout_buffer, agent.n_steps)
    return audit_update(agent, count)


def audit_update(agent: RoutedPPO, count: int | None = None) -> Norms:
    """Return the norm of the gradient that each route of a rollout sends to each target.

    Call this after a rollout and before the update from it. Samples are evenly spaced over the
    rollout, so that nothing is drawn. The agent is left as it was: its gradients, its buffers and
    all generators. Gradients are those before clipping.

    Args:
        agent: an agent whose rollout buffer is full.
        count: number of samples; by default as many as are in a minibatch.
    """
    table = in_route_order(agent.method.table_for(agent.rollout_buffer.routes, agent.propensity))
    samples = agent.rollout_buffer.spread(count or agent.batch_size)
    groups = agent.policy.optimizer.param_groups
    targets = {group.get("target", "policy"): group["params"] for group in groups}
    with _left_unchanged(agent.policy), torch.enable_grad():
        losses, routes = split_loss(agent, samples, table)
        norms = audit(losses, targets, table, routes)
        for route, row in agent.reward_source.audit().items():
            norms[route] |= row
    return norms


def split_loss(
    agent: RoutedPPO, samples: RoutedSamples, table: RouteTable
) -> tuple[Tensor, Tensor]:
    """Return the loss of a minibatch as parts of one route each, and their routes, [parts] each.

    The parts add up to the losses that an update minimizes, auxiliary ones included.

    Args:
        agent: the agent.
        samples: the minibatch.
        table: the route table of the update.
    """
    objective = agent._objective()
    # normalized over the whole minibatch, as in an update, and then left as they are
    over = objective.normalization
    samples = samples._replace(
        advantages=normalized(samples.advantages, samples.routes, over),
        proxy_advantages=normalized(samples.proxy_advantages, samples.routes, over),
    )
    objective = replace(objective, normalization="none")
    parts: list[Tensor] = []
    routes: list[int] = []
    for route in sorted(set(samples.routes.tolist())):
        found = list(_losses_of_route(agent, objective, samples, route, table))
        parts += found
        routes += [route] * len(found)
    return torch.stack(parts), torch.tensor(routes, device=samples.routes.device)


def _losses_of_route(
    agent: RoutedPPO, objective: Objective, samples: RoutedSamples, route: int, table: RouteTable
) -> Iterator[Tensor]:
    """Yield the share of one route's samples in PPO's loss, then in each auxiliary loss."""
    count = len(samples.routes)
    few = samples.select((samples.routes == route).nonzero().squeeze(-1))
    with agent._routing(few.routes, table):
        loss = replace(objective, auxiliary=()).terms(few)["loss"]
        yield loss * (len(few.routes) / count)
    for auxiliary in objective.auxiliary:
        everything = auxiliary.rows(agent.policy, samples)
        rows = auxiliary.rows(agent.policy, few)
        if everything is None or rows is None or not len(rows):
            continue
        # a loss within PPO's backward pass is a mean over its rows; one with a backward pass of
        # its own is a share of the minibatch's mean
        own = auxiliary.table is not None
        share = len(few.routes) / count if own else len(rows) / len(everything)
        gated = few.routes.index_select(0, rows) if own else few.routes
        with agent._routing(gated, auxiliary.table or table):
            term, weight = auxiliary.weighted(objective, few, rows)
            yield weight * share * term


@contextmanager
def _left_unchanged(policy: nn.Module) -> Iterator[None]:
    """Put a policy into training mode, and restore its mode, buffers and generators afterwards."""
    mode = policy.training
    stored = [(buffer, buffer.clone()) for buffer in policy.buffers()]
    device = next(policy.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        policy.train(mode=True)
        try:
            yield
        finally:
            policy.train(mode)
            for buffer, value in stored:
                buffer.copy_(value)
