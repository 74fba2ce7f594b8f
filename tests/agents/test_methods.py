"""Every registered method: its record, its table, its gradients, its rewards and its training."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from agents import METHODS, MotivationPolicy, RoutedPPO, method
from agents.checkpoint import restore, training_state
from agents.losses import LOGGED, LOGGED_ELSEWHERE, MixtureLoss, normalized
from agents.methods import inverse_propensity
from agents.reward_map import reward_head
from agents.reward_model import OBSERVED, ObservedRewards, RewardModel
from agents.rollout_buffer import (
    HIDDEN,
    NEGATIVE,
    OPEN,
    POSITIVE,
    ROUTES,
    UNUSED,
    RoutedSamples,
    assign,
    by_coin,
)
from envs import partial_grid_vec
from oversight.routing import RouteTable
from tests.agents.factories import (
    PENDULUM_STEPS,
    PENDULUMS,
    ROLLOUT,
    assert_same_training,
    pendulum_agent,
    pendulums,
    small_agent,
    small_env,
    weights,
)
from tests.agents.gradients import (
    Gradients,
    backward,
    divergences,
    exact_agent,
    gateless,
    gradients,
    mixture_losses,
    reference_losses,
    rollout,
    sample_losses,
    surrogates,
    target_of,
)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ruted", "did you mean 'routed'"), ("Naive", "did you mean 'naive'"), ("x", "choose from")],
)
def test_method_suggests_the_nearest_name_when_unknown(name: str, hint: str) -> None:
    for act in (method, small_agent):
        with pytest.raises(ValueError, match=rf"{name}.*{hint}"):
            act(name)


@pytest.mark.parametrize("chosen", METHODS.values(), ids=lambda chosen: chosen.name)
def test_table_targets_are_the_parts_of_the_network(chosen: Any) -> None:  # noqa: ANN401
    assert method(chosen.name) is chosen
    maps = chosen.network.score_maps
    assert chosen.deployed in (maps or chosen.modules)
    mixture = ("mixture",) if "mixture_loss" in [each.name for each in chosen.auxiliary] else ()
    trunk = ("competence",) if chosen.network.trunk else ()
    motivation = ("motivation",) if chosen.network.has_reward_map else ()
    reference = ("reference",) if chosen.network.has_reference else ()
    targets = (*maps, *motivation, *chosen.modules, *mixture, *trunk, *reference, "shared")
    assert chosen.table.target_names == targets
    assert chosen.summary.endswith(".")


def test_only_oracles_are_paid_the_true_reward() -> None:
    paid = [name for name, each in METHODS.items() if each.reward == "true"]
    assert sorted(paid) == ["oracle", "oracle-sampled"]


def test_every_table_has_the_routes_in_order() -> None:
    for each in METHODS.values():
        assert each.table.route_names == ROUTES


def assert_gradients_close(actual: Gradients, expected: Gradients) -> None:
    assert actual.keys() == expected.keys()
    scale = max(float(grad.abs().max()) for grad in expected.values())
    for name, grad in expected.items():
        assert (actual[name] - grad).abs().max() < 1e-6 * scale, name


def expected_gradients(agent: RoutedPPO) -> Gradients:
    """Return the weighted sum of one backward pass per route through the unrouted network."""
    policy, samples, table = gateless(agent), rollout(agent), agent.table.as_dict()
    losses = sample_losses(agent, policy, samples)
    total = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
    for number, route in enumerate(ROUTES):
        of_route = backward((losses * (samples.routes == number)).sum() / len(losses), policy)
        for name, grad in of_route.items():
            # the heads lie above everything, so that the weight of `shared` scales what is below
            weight = table[route]["shared"]
            if (target := target_of(name)) != "shared":
                weight *= table[route][target]
            total[name] += weight * grad
    losses_of = {each.name: each for each in agent.method.auxiliary}
    if "proxy_loss" in losses_of:
        total = add_gradients(total, proxy_gradients(agent, policy, samples))
    if "mixture_loss" in losses_of:
        mixture = backward(agent.mixture_coef * mixture_losses(policy, samples).mean(), policy)
        total = add_gradients(total, mixture)
    if "kl_loss" in losses_of:
        divergence = agent.kl_coef * divergences(policy, samples).mean()
        total = add_gradients(total, backward(divergence, policy))
        learned = samples.routes != HIDDEN
        reference = (reference_losses(agent, policy, samples) * learned).mean()
        total = add_gradients(total, backward(reference, policy))
    return total


def add_gradients(one: Gradients, other: Gradients) -> Gradients:
    return {name: grad + other[name] for name, grad in one.items()}


def proxy_gradients(agent: RoutedPPO, policy: Any, samples: RoutedSamples) -> Gradients:  # noqa: ANN401
    """Return the gradient of the auxiliary loss on the paid reward, weighted route by route."""
    (proxy,) = (each.table for each in agent.method.auxiliary if each.table is not None)
    table, losses = proxy.as_dict(), surrogates(policy, samples, samples.proxy_advantages)
    total = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
    for number, route in enumerate(ROUTES):
        of_route = backward((losses * (samples.routes == number)).sum() / len(losses), policy)
        for name, grad in of_route.items():
            target = target_of(name)
            weight = table[route][target] * (table[route]["shared"] if target != "shared" else 1)
            total[name] += weight * grad
    return total


@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_the_weighted_sum_over_routes(method: str) -> None:
    agent = exact_agent(method)
    assert set(rollout(agent).routes.tolist()) == set(range(len(ROUTES)))
    expected = expected_gradients(agent)
    assert_gradients_close(gradients(agent), expected)


def test_routed_and_unrouted_gradients_differ() -> None:
    ours = {name: gradients(exact_agent(name)) for name in ("routed", "unrouted")}
    blocked = "mlp_extractor.experts.goal.0.weight"
    assert not torch.allclose(ours["routed"][blocked], ours["unrouted"][blocked], atol=1e-4)


def test_filtered_gradient_is_that_without_hidden_samples() -> None:
    agent = exact_agent("filtered")
    policy, samples = gateless(agent), rollout(agent)
    learned = samples.routes != HIDDEN
    share = learned.double().mean()
    assert 0.1 < share < 0.9
    expected = backward(sample_losses(agent, policy, samples)[learned].mean() * share, policy)
    assert_gradients_close(gradients(agent), expected)


def test_tables_hold_the_published_weights() -> None:
    rows = METHODS["routed"].table.as_dict()
    assert rows["negative"] == {"goal": 1.0, "proxy": -1.0, "mixture": 0.0, "shared": 1.0}
    assert METHODS["filtered"].table.as_dict()["hidden"] == {"motivation": 0.0, "shared": 0.0}


def rewards_at_ends(agent: RoutedPPO, route: int) -> set[float]:
    """Return the rewards in the buffer at the last steps of a route's episodes."""
    buffer = agent.rollout_buffer
    return set(buffer.rewards[buffer.last_route == route].tolist())


def test_uds_learns_from_0_when_hidden() -> None:
    uds, naive = (small_agent(name).learn(ROLLOUT) for name in ("uds", "naive"))
    assert rewards_at_ends(uds, HIDDEN) == {0.0}
    assert rewards_at_ends(naive, HIDDEN) == {1.0}
    for agent in (uds, naive):
        assert rewards_at_ends(agent, POSITIVE) == {1.0}
        assert rewards_at_ends(agent, NEGATIVE) == {-1.0}


def test_signed_keeps_the_residual_of_the_proxy() -> None:
    agent = small_agent("signed").learn(ROLLOUT)
    buffer = agent.rollout_buffer
    assert rewards_at_ends(agent, NEGATIVE) == {-1.0}
    assert rewards_at_ends(agent, HIDDEN) == {1.0}
    negative = buffer.last_route == NEGATIVE
    assert negative.any()
    np.testing.assert_array_equal(buffer.proxy_residual, np.where(negative, 2.0, 0.0))


def test_signed_ignores_the_proxy_when_no_failure_was_observed() -> None:
    agent = exact_agent("signed")
    agent.rollout_buffer.last_route[agent.rollout_buffer.last_route == NEGATIVE] = HIDDEN
    other = exact_agent("signed")
    other.rollout_buffer.last_route[:] = agent.rollout_buffer.last_route
    other.rollout_buffer.proxy_advantages = other.rollout_buffer.proxy_advantages + 1e9
    ours = gradients(agent)
    for name, grad in gradients(other).items():
        torch.testing.assert_close(grad, ours[name], rtol=1e-9, atol=1e-12)


ALLOWED = {
    "observed",
    "observed_reward",
    "TimeLimit.truncated",
    "terminal_observation",
    "episode",
}


class Recorder(BaseCallback):
    """Records the infos and rewards that the learner receives."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[dict[str, Any]] = []
        self.rewards: list[Any] = []

    def _on_step(self) -> bool:
        self.infos += self.locals["infos"]
        self.rewards.append(self.locals["rewards"].copy())
        return True


@pytest.fixture(scope="module", params=METHODS)
def trained_twice(request: pytest.FixtureRequest) -> tuple[list[RoutedPPO], Recorder]:
    """Return two agents of one seed and the records of the second one.

    The global generators start from other states for each.
    """
    agents, recorder = [], Recorder()
    for noise in (1, 2):
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002 (the generator of SB3's buffer)
        callback = recorder if noise == 2 else None
        agents.append(small_agent(request.param).learn(2 * ROLLOUT, callback=callback))
    return agents, recorder


def test_training_is_bit_equal_when_the_seed_is_the_same(
    trained_twice: tuple[list[RoutedPPO], Recorder],
) -> None:
    agents, _ = trained_twice
    assert_same_training(*agents)


def test_infos_hold_only_what_was_observed(
    trained_twice: tuple[list[RoutedPPO], Recorder],
) -> None:
    _, recorder = trained_twice
    ended = [info for info in recorder.infos if info]
    assert len(ended) > 32
    assert all(set(info) == ALLOWED for info in ended)
    assert all(info["observed_reward"] == 0 for info in ended if not info["observed"])
    assert all(set(info["episode"]) == {"r", "l"} for info in ended)


def test_hidden_ends_all_pay_1_when_never_observed() -> None:
    recorder = Recorder()
    env = partial_grid_vec(32, oversight_probability=0.0, horizon=12)
    small_agent(env=env).learn(ROLLOUT, callback=recorder)
    ended = [info for info in recorder.infos if info]
    returns = {bool(info["TimeLimit.truncated"]): info["episode"]["r"] for info in ended}
    assert returns == {False: 1.0, True: 0.0}
    assert not any(info["observed"] for info in ended)
    assert min(rewards.min() for rewards in recorder.rewards) == 0.0


def test_filtered_learns_nothing_when_all_is_hidden() -> None:
    agent = pendulum_agent(pendulums(0.0), "filtered", timeouts="hidden")
    before = weights(agent.policy)
    agent.learn(2 * PENDULUM_STEPS * PENDULUMS)
    assert (agent.rollout_buffer.routes() == HIDDEN).all()
    for name, tensor in weights(agent.policy).items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("timeouts", ["open", "hidden"])
@pytest.mark.parametrize(
    "method", [name for name, each in METHODS.items() if not each.network.score_maps]
)
def test_methods_learn_when_actions_are_continuous(method: str, timeouts: Any) -> None:  # noqa: ANN401
    env = pendulums(0.5, METHODS[method].reward)
    agent = pendulum_agent(env, method, timeouts=timeouts)
    before = weights(agent.policy)
    agent.learn(PENDULUM_STEPS * PENDULUMS)
    unobserved = HIDDEN if timeouts == "hidden" else OPEN
    unlabeled = {HIDDEN, OPEN} if agent.method.assignment is by_coin else {unobserved}
    assert set(np.unique(agent.rollout_buffer.routes())) == {NEGATIVE, *unlabeled}  # costs only
    assert not torch.equal(weights(agent.policy)["log_std"], before["log_std"])
    assert POSITIVE not in agent.rollout_buffer.routes()


def test_kl_is_naive_when_its_weight_is_0() -> None:
    trained = []
    for name in ("naive", "kl"):
        agent = small_agent(name, kl_coef=0.0, max_grad_norm=np.inf)
        torch.manual_seed(3)  # the reference drew its weights after those of the acting policy
        trained.append(weights(agent.learn(2 * ROLLOUT).policy))
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name


def test_kl_resumes_with_its_reference() -> None:
    whole, resumed = small_agent("kl").learn(2 * ROLLOUT), small_agent("kl")
    state = deepcopy(training_state(whole))
    whole.learn(2 * ROLLOUT, reset_num_timesteps=False)
    restore(resumed, state)
    resumed.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert_same_training(resumed, whole)


def test_reference_learns_nothing_when_all_is_hidden() -> None:
    env = partial_grid_vec(32, oversight_probability=0.0, horizon=12)
    agent = small_agent("kl", env, timeouts="hidden")
    before = weights(agent.policy)
    agent.learn(2 * ROLLOUT)
    moved = {n for n, tensor in weights(agent.policy).items() if not torch.equal(tensor, before[n])}
    assert moved == {name for name in before if not name.startswith("reference.")}


def test_large_weight_holds_the_policy_at_its_reference() -> None:
    gaps = []
    for coefficient in (0.0, 100.0):
        agent = small_agent("kl", kl_coef=coefficient, learning_rate=1e-2).learn(4 * ROLLOUT)
        assert isinstance(agent.policy, MotivationPolicy)
        with torch.no_grad():
            gaps.append(float(divergences(agent.policy, rollout(agent)).mean()))
    assert gaps[1] < 0.1 * gaps[0]


@pytest.mark.parametrize("method", ["placebo", "filtered-coin", "oracle-sampled"])
def test_assigned_routes_stay_the_same_within_a_rollout(method: str) -> None:
    agent = small_agent(method).learn(ROLLOUT)
    buffer = agent.rollout_buffer
    routes = buffer.routes()
    np.testing.assert_array_equal(buffer.routes(), routes)
    assert sorted(rollout(agent).routes.tolist()) == sorted(routes.flat)
    outcomes = buffer.last_route, buffer.outcomes.unfinished()
    assert buffer.assignment is not None
    again = [assign(*outcomes, buffer.assignment, buffer.order, 0.5) for _ in range(2)]
    assert (again[0][0] != again[1][0]).any()  # each rollout draws anew


def test_oracle_sampled_equals_oracle_when_propensity_is_1() -> None:
    sampled, whole = (
        small_agent(name, propensity=1.0).learn(ROLLOUT) for name in ("oracle-sampled", "oracle")
    )
    np.testing.assert_array_equal(sampled.rollout_buffer.rewards, whole.rollout_buffer.rewards)
    routes = whole.rollout_buffer.routes()
    expected = np.where(routes == HIDDEN, OPEN, routes)
    np.testing.assert_array_equal(sampled.rollout_buffer.routes(), expected)


def test_methods_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        METHODS["routed"].reward = "true"  # type: ignore[misc]
    assert replace(METHODS["routed"], reward="proxy").table == METHODS["routed"].table


def test_inverse_propensity_weights_have_a_mean_of_1() -> None:
    random = np.random.default_rng(0)
    routes = random.integers(UNUSED, OPEN + 1, (30, 20)).astype(np.int8)
    rows = inverse_propensity(METHODS["naive"].table, routes, 0.1).as_dict()
    shares = [row["shared"] for row in rows.values()]
    assert shares[POSITIVE] == shares[NEGATIVE] == pytest.approx(10 * shares[OPEN])
    assert shares[HIDDEN] == 0
    assert np.mean([shares[route] for route in routes[routes >= 0]]) == pytest.approx(1)
    assert {row["motivation"] for row in rows.values()} == {1.0}


def test_inverse_propensity_leaves_hidden_at_0_when_all_is_hidden() -> None:
    rows = inverse_propensity(
        METHODS["naive"].table, np.full((3, 2), HIDDEN, np.int8), 0.1
    ).as_dict()
    assert {row["shared"] for row in rows.values()} == {10.0, 0.0, 1.0}
    assert rows["hidden"]["shared"] == 0


def test_ipw_is_filtered_but_for_the_scale_when_propensity_is_1() -> None:
    ipw, filtered = exact_agent("ipw", propensity=1.0), exact_agent("filtered")
    filtered.policy.load_state_dict(ipw.policy.state_dict())
    learned = ipw.rollout_buffer.routes() != HIDDEN
    np.testing.assert_array_equal(learned, filtered.rollout_buffer.routes() != HIDDEN)
    ours = gradients(ipw)
    for name, grad in gradients(filtered).items():
        torch.testing.assert_close(ours[name] * learned.mean(), grad, rtol=1e-6, atol=1e-12)


ORDERS = (tuple(reversed(ROUTES)), ("hidden", "open", "negative", "positive"))


def reordered(table: RouteTable, order: tuple[str, ...]) -> RouteTable:
    """Return a table with its rows in another order, and its targets in reverse."""
    rows = table.as_dict()
    return RouteTable({route: dict(reversed(rows[route].items())) for route in order})


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", ["routed", "filtered", "signed", "ipw", "placebo", "reward-map"])
def test_training_does_not_depend_on_the_order_of_rows(name: str, order: tuple[str, ...]) -> None:
    chosen = METHODS[name]
    auxiliary = tuple(
        each if each.table is None else replace(each, table=reordered(each.table, order))
        for each in chosen.auxiliary
    )
    reweighting = chosen.reweighting and (
        lambda *args: reordered(inverse_propensity(*args), order)  # in any order as well
    )
    other = replace(
        chosen,
        table=reordered(chosen.table, order),
        auxiliary=auxiliary,
        reweighting=reweighting,
    )
    assert other.table.route_names == ROUTES
    ours, theirs = (small_agent(each).learn(2 * ROLLOUT) for each in (other, chosen))
    assert_same_training(ours, theirs)


def test_reward_model_does_not_depend_on_the_order_of_rows() -> None:
    model = RewardModel([reward_head(3, (4,))], 2, 0, table=reordered(OBSERVED, ORDERS[1]))
    assert model.table == OBSERVED


@pytest.mark.parametrize("name", [*LOGGED, *LOGGED_ELSEWHERE, "", 3])
def test_auxiliary_loss_takes_no_name_under_which_ppo_logs(name: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=f"PPO logs nothing, got {name!r}: choose another one"):
        MixtureLoss(name=name)


def test_update_logs_under_the_known_names_and_those_of_the_losses() -> None:
    agent = small_agent("signed", env=small_env("signed", lanes=8)).learn(8 * 32)
    logged = {key for key in agent.logger.name_to_value if key.startswith("train/")}
    names = {*LOGGED, *LOGGED_ELSEWHERE, *(each.name for each in METHODS["signed"].auxiliary)}
    assert logged == {f"train/{name}" for name in names}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ObservedRewards("none"), "elsewhere must be paid or zero, got 'none'"),  # type: ignore[arg-type]
        (
            lambda: RewardModel([reward_head(3, (4,))], 2, 0, "never"),  # type: ignore[arg-type]
            "timeouts must be open or hidden, got 'never'",
        ),
        (
            lambda: normalized(torch.zeros(2), torch.zeros(2), "some"),  # type: ignore[arg-type]
            "advantage_normalization must be .*got 'some'",
        ),
    ],
)
def test_parts_of_methods_refuse_unknown_choices(act: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.parametrize("name", METHODS)
def test_agent_channel_changes_what_is_learned_only_by_the_methods_that_say_so(name: str) -> None:
    agents = [small_agent(name, agent_channel=channel).learn(2 * ROLLOUT) for channel in (None, 0)]
    if METHODS[name].may_read_agent_channel:
        with pytest.raises(AssertionError):
            assert_same_training(*agents)
    else:
        assert_same_training(*agents)


def test_reward_source_of_ones_own_may_read_the_agent_channel() -> None:
    own = replace(METHODS["naive"], source=lambda learner: ObservedRewards("zero"))
    assert own.may_read_agent_channel
