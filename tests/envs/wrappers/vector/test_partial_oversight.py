"""The vector PartialOversight equals the single one lane by lane, in all autoreset modes."""

from itertools import count, cycle
from pathlib import Path
from typing import Any, Literal, cast

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TransformObservation
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs import (
    Adversarial,
    Budget,
    EpisodeCoin,
    GaussianNoise,
    GridEnv,
    GridVectorEnv,
    Noisy,
    NoisyFlag,
    PartialOversight,
    Query,
    RecordTruth,
    Region,
    StepCoin,
    StepDecay,
    read_ledger,
)
from envs.observers import InformationLevel, Observer
from envs.observers.observer import parts
from envs.wrappers import vector
from envs.wrappers.vector.infos import parse_step_infos
from tests.envs.comparison import assert_same
from tests.envs.wrappers.environment_factories import GAMES, SHOWN, Drawn, WithEntry, frozen
from tests.envs.wrappers.observer_factories import COMPOSITIONS, QUERIES, guess, leftward

LANES, STEPS = 4, 50
MODES = list(AutoresetMode)


CASES: dict[str, dict[str, Any]] = {
    "coin": {"observed_probability": 0.5},
    "visible": {"observer": StepCoin(0.5), "flag": "visible"},
    "noisy": {"observer": Noisy(EpisodeCoin(0.7), flip=0.4, miss=0.2), "flag": NoisyFlag(0.3, 0.2)},
    "steps err": {"observer": Noisy(StepCoin(0.7), flip=0.5, side="rewards") | Budget(9)},
    "Gaussian": {"observer": GaussianNoise(StepCoin(0.6), 3.0) | Budget(9), "proxy": guess},
    "Gaussian by episode": {"observer": Noisy(GaussianNoise(EpisodeCoin(0.6), 3.0), flip=0.3)},
    "decay": {"observer": StepDecay(0.98), "flag": "visible"},
    "adversary": {"observer": Adversarial(EpisodeCoin(0.7), 9, every=2) & ~Budget(2, 4)},
    "question": {"observer": Query(0.25) & Noisy(StepCoin(0.9), flip=0.1), "proxy": guess},
    "rule": {"observer": Query(0.5, leftward) & EpisodeCoin(0.7), "flag": "visible"},
    "learns from proxy": {"observer": Query(0.5, leftward), "proxy": guess, "reward": "proxy"},
    "region": {"observer": Region(leftward), "flag": "visible", "seed": 3},
    "arrival": {"observer": Region(leftward, at="arrival") | EpisodeCoin(0.2)},
    "proxy": {"observed_probability": 0.5, "proxy": guess},
}
ENTRY: dict[str, dict[str, Any]] = {
    "entry of info": {"observed_probability": 0.5, "proxy": "height"},
}


# Every case in every mode; the games take turns, the agent's queries need discrete actions.
TRIALS = [
    (case, "CartPole" if case == "question" else game, mode)
    for mode in MODES
    for case, game in zip(CASES, cycle(GAMES), strict=False)
]
TRIALS += [("entry of info", "WithEntry", mode) for mode in MODES]


def with_entry() -> gym.Env[Any, Any]:
    """A game whose info has an entry."""
    return WithEntry(GAMES["Pendulum"]())


def paths(mode: AutoresetMode, game: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """A vector of wrapped singles, and the wrapped vector of singles."""
    single = with_entry if game == "WithEntry" else GAMES[game]
    inside = SyncVectorEnv(
        [lambda: PartialOversight(single(), **arguments)] * LANES, autoreset_mode=mode
    )
    outside = SyncVectorEnv([single] * LANES, autoreset_mode=mode)
    return inside, vector.PartialOversight(outside, **arguments)


@pytest.mark.parametrize(("case", "game", "mode"), TRIALS)
def test_vector_wrapper_equals_a_vector_of_wrapped_singles(
    case: str, game: str, mode: AutoresetMode
) -> None:
    singles, ours = paths(mode, game, (CASES | ENTRY)[case])
    assert ours.observation_space == singles.observation_space
    assert ours.single_observation_space == singles.single_observation_space
    singles.action_space.seed(1)
    assert_same(ours.reset(seed=7), singles.reset(seed=7))
    for step in range(STEPS):
        if step == STEPS // 2:
            assert_same(ours.reset(), singles.reset())
        actions = singles.action_space.sample()
        given = ours.step(actions)
        assert_same(given, singles.step(actions))
        ended = given[2] | given[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            assert_same(
                ours.reset(options={"reset_mask": ended.copy()}),
                singles.reset(options={"reset_mask": ended.copy()}),
            )


def test_hidden_steps_pay_the_entry_of_info_that_the_proxy_names() -> None:
    env = vector.PartialOversight(
        SyncVectorEnv([with_entry] * LANES, autoreset_mode=AutoresetMode.SAME_STEP),
        observed_probability=0.5,
        proxy="height",
    )
    env.reset(seed=0)
    for _ in range(STEPS):
        observations, paid, terminated, truncated, infos = env.step(np.ones((LANES, 1)))
        ended = terminated | truncated
        observed, rewards = parse_step_infos(infos, ended if ended.any() else None)
        arrival = np.stack(
            [infos["final_obs"][i] if ended[i] else observations[i] for i in range(LANES)]
        )
        np.testing.assert_array_equal(paid, np.where(observed, rewards, arrival[:, 0]))


def test_proxy_that_is_no_entry_of_info_is_refused_at_the_first_step() -> None:
    single = PartialOversight(with_entry(), proxy="speed")
    lanes = vector.PartialOversight(SyncVectorEnv([with_entry] * 2), proxy="speed")
    for env, action in ((single, np.zeros(1)), (lanes, np.zeros((2, 1)))):
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"proxy 'speed' is no entry .* \['height'\]: name"):
            env.step(action)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", ["hidden", "visible"])
@pytest.mark.parametrize("name", SHOWN)
def test_observations_of_any_space_are_those_of_wrapped_singles(
    name: str, flag: Literal["hidden", "visible"], mode: AutoresetMode, tmp_path: Path
) -> None:
    ledgers = (tmp_path / f"{lane}.ledger" for lane in count())

    def recorded() -> gym.Env[Any, Any]:
        return RecordTruth(Drawn(SHOWN[name]), next(ledgers))

    def single() -> gym.Env[Any, Any]:
        return PartialOversight(recorded(), observer=StepCoin(0.5), flag=flag)

    singles = SyncVectorEnv([single] * LANES, autoreset_mode=mode)
    inside = SyncVectorEnv([recorded] * LANES, autoreset_mode=mode)
    ours = vector.PartialOversight(inside, observer=StepCoin(0.5), flag=flag)
    assert_same(ours.reset(seed=7), singles.reset(seed=7))
    for actions in np.random.default_rng(0).integers(2, size=(STEPS, LANES)):
        given = ours.step(actions)
        assert ours.observation_space.contains(given[0])
        assert_same(given, singles.step(actions))
        ended = given[2] | given[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            masks = ({"reset_mask": ended.copy()} for _ in range(2))
            resets = (
                env.reset(options=mask) for env, mask in zip((ours, singles), masks, strict=True)
            )
            assert_same(*resets)
    ours.close()
    singles.close()
    truths = [read_ledger(tmp_path / f"{lane}.ledger")["reward"] for lane in range(2 * LANES)]
    for one, other in zip(truths[:LANES], truths[LANES:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_native_cartpole_observes_the_same_episodes_as_singles() -> None:
    """Its levels are its own, but episode n of lane i is observed as in a single."""
    env = vector.PartialOversight(
        gym.make_vec("CartPole-v1", num_envs=16), observed_probability=0.5
    )
    singles = [
        PartialOversight(gym.make("CartPole-v1"), observed_probability=0.5) for _ in range(16)
    ]
    env.reset(seed=3)
    observed_episodes: list[list[bool]] = []
    for lane, single in enumerate(singles):
        single.reset(seed=3 + lane)
        observed_episodes.append([])
        for _ in range(40):
            observed_episodes[-1].append(single.step(0)[4]["observed"])
            single.reset()
    episode, resetting = np.zeros(16, dtype=int), np.zeros(16, dtype=bool)
    for actions in np.random.default_rng(0).integers(2, size=(300, 16)):
        _, rewards, terminated, truncated, infos = env.step(actions)
        episode += resetting
        expected = (
            np.array([observed_episodes[lane][episode[lane]] for lane in range(16)]) & ~resetting
        )
        np.testing.assert_array_equal(infos["observed"], expected)
        np.testing.assert_array_equal(rewards, expected.astype(np.float32))
        np.testing.assert_array_equal(infos["observed_reward"], expected)
        assert rewards.dtype == np.float32
        resetting = terminated | truncated
    assert episode.min() > 3


@pytest.mark.parametrize("case", CASES)
def test_native_grid_equals_a_vector_of_wrapped_singles(case: str) -> None:
    arguments = CASES[case]
    native = vector.PartialOversight(GridVectorEnv(LANES), **arguments)
    singles, _ = paths(AutoresetMode.SAME_STEP, "PartialGrid", arguments)
    assert_same(native.reset(seed=[4, 9, 4, 0]), singles.reset(seed=[4, 9, 4, 0]))
    actions_of_a_lane = int(native.action_space.nvec[0])  # type: ignore[attr-defined]
    for actions in np.random.default_rng(0).integers(actions_of_a_lane, size=(150, LANES)):
        assert_same(native.step(actions), singles.step(actions))


@pytest.mark.parametrize(("case", "value"), [("coin", np.nan), ("visible", 1e9), ("proxy", np.inf)])
def test_no_hidden_reward_reaches_the_agents(case: str, value: float) -> None:
    class Tampered(GridVectorEnv):
        """Replaces the hidden rewards by a number."""

        hidden: NDArray[np.bool_]

        def step(self, actions: Any) -> Any:  # noqa: ANN401
            observations, rewards, *rest = super().step(actions)
            return observations, np.where(self.hidden, value, rewards), *rest

    clean = vector.PartialOversight(GridVectorEnv(64), **CASES[case])
    inner = Tampered(64)
    dirty = vector.PartialOversight(inner, **CASES[case])
    assert frozen(clean.reset(seed=0)) == frozen(dirty.reset(seed=0))
    for actions in np.random.default_rng(0).integers(4, size=(100, 64)):
        given = clean.step(actions)
        observed = given[4]["observed"] | given[4].get("final_info", given[4])["observed"]
        inner.hidden = ~observed
        assert frozen(given) == frozen(dirty.step(actions))


def test_allowed_key_is_kept_with_its_mask() -> None:
    inner = SyncVectorEnv([lambda: gym.make("FrozenLake-v1")] * 3, autoreset_mode="SameStep")
    env = vector.PartialOversight(inner, allow=("prob",))
    assert set(env.reset(seed=0)[1]) == {
        *("prob", "_prob", "observed", "_observed", "observed_reward", "_observed_reward")
    }
    for _ in range(40):
        infos = env.step(np.array([1, 2, 1]))[4]
        assert "prob" in infos.get("final_info", infos)


def test_returned_arrays_may_be_written_to() -> None:
    env, twin = (vector.PartialOversight(GridVectorEnv(32)) for _ in range(2))
    for side in (env, twin):
        side.reset(seed=0)
    for actions in np.random.default_rng(0).integers(4, size=(60, 32)):
        given = env.step(actions)
        assert_same(given, twin.step(actions))
        given[1][:] += 5
        assert (given[4]["observed_reward"] < 5).all()
        for array in (*given[:4], *(v for k, v in given[4].items() if "final" not in k)):
            array[:] = 1


def test_rewards_are_refused_when_not_one_finite_number_a_lane() -> None:
    class InvalidRewards(GridVectorEnv):
        """Pays what `pay` holds."""

        pay: Any = None

        def step(self, actions: Any) -> Any:  # noqa: ANN401
            observations, _, *rest = super().step(actions)
            return observations, self.pay, *rest

    inner = InvalidRewards(2)
    env = vector.PartialOversight(inner, observed_probability=1.0)
    env.reset(seed=0)
    for pay in (np.ones((2, 3)), np.array([1.0, np.nan]), np.array([np.inf, -np.inf]), "ab"):
        inner.pay = pay
        with pytest.raises(ValueError, match="PartialOversight needs"):
            env.step([0, 0])
    inner.pay = np.array([1e300, 0.0])
    np.testing.assert_array_equal(env.step([0, 0])[1], inner.pay)
    native = GridEnv()
    with pytest.raises(TypeError, match="VectorEnv"):
        vector.PartialOversight(native)  # type: ignore[arg-type]


class Replaced(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces the reward of a step that is said to be hidden, and plants it in info."""

    hidden, kind = False, "huge"

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Replace."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.hidden:
            reward = {"huge": 1e9, "nan": np.nan, "inf": -np.inf, "sign": -float(reward)}[self.kind]
        return observation, reward, terminated, truncated, info | {"truth": float(reward)}


def cases() -> st.SearchStrategy[dict[str, Any]]:
    """Return arguments of PartialOversight that go together."""

    def allowed(observer: Observer, query: Query | None, flag: Any, **rest: Any) -> dict[str, Any]:  # noqa: ANN401
        whole = observer if query is None else query & observer
        tells = "hidden" if whole.information_level >= InformationLevel.ACTION else flag
        return {"observer": whole, "flag": tells, **rest}

    return st.builds(
        allowed,
        COMPOSITIONS,
        QUERIES,
        st.sampled_from(["hidden", "visible", NoisyFlag(0.3, 0.2)]),
        proxy=st.sampled_from([None, guess]),
        reward=st.sampled_from(["observed", "proxy"]),
        seed=st.integers(0, 2**32),
    )


def hide(env: SyncVectorEnv, hidden: Any, kind: str) -> None:  # noqa: ANN401
    for lane, single in enumerate(env.envs):
        layer: Any = single
        while not isinstance(layer, Replaced):
            layer = layer.env
        layer.hidden, layer.kind = bool(hidden[lane]), kind


@settings(max_examples=30, deadline=None)
@given(
    game=st.sampled_from(list(GAMES)),
    mode=st.sampled_from(list(AutoresetMode)),
    case=cases(),
    kind=st.sampled_from(["huge", "nan", "inf", "sign"]),
    seed=st.integers(0, 2**31),
)
def test_lanes_equal_singles_and_hidden_rewards_change_nothing(
    game: str, mode: AutoresetMode, case: dict[str, Any], kind: str, seed: int
) -> None:
    def single() -> gym.Env[Any, Any]:
        return Replaced(GAMES[game]())

    def make_overseen() -> gym.Env[Any, Any]:
        return PartialOversight(single(), **case)

    agent_asks = any(part == Query(0.5) for part in parts(case["observer"]))
    assume(not (agent_asks and game == "Pendulum"))  # whose actions are not discrete
    inner = [SyncVectorEnv([single] * 3, autoreset_mode=mode) for _ in range(2)]
    clean, dirty = (vector.PartialOversight(each, **case) for each in inner)
    singles, others = (SyncVectorEnv([make_overseen] * 3, autoreset_mode=mode) for _ in range(2))
    clean.action_space.seed(seed)
    start = clean.reset(seed=seed)
    assert_same(start, singles.reset(seed=seed))
    assert frozen(start) == frozen(dirty.reset(seed=seed))
    others.reset(seed=seed)
    for _ in range(30):
        actions = clean.action_space.sample()
        given_out = clean.step(actions)
        ended = given_out[2] | given_out[3]
        seen = given_out[4].get("final_info", {}).get("observed", False) | given_out[4]["observed"]
        for tampered in (cast(SyncVectorEnv, dirty.env), others):
            hide(tampered, ~seen, kind)
        by_singles = singles.step(actions)
        assert_same(given_out, by_singles)
        assert frozen(given_out) == frozen(dirty.step(actions))
        assert frozen(by_singles) == frozen(others.step(actions))
        if mode is AutoresetMode.DISABLED and ended.any():
            for env in (clean, dirty, singles, others):
                env.reset(options={"reset_mask": ended.copy()})


ARRIVAL = Region(lambda observation: np.ones(len(observation), dtype=np.bool_), at="arrival")


@pytest.mark.parametrize("observer", [Noisy(ARRIVAL, flip=1.0), GaussianNoise(ARRIVAL, 1.0)])
def test_first_report_of_an_observer_that_reads_the_arrival_errs(observer: Observer) -> None:
    single = PartialOversight(gym.make("CartPole-v1"), observer=observer, seed=0)
    lanes = vector.PartialOversight(
        SyncVectorEnv([lambda: gym.make("CartPole-v1")]), observer=observer, seed=0
    )
    single.reset(seed=0)
    lanes.reset(seed=0)
    reported = single.step(0)[4]["observed_reward"]
    assert reported != 1.0
    assert reported == lanes.step(np.array([0]))[4]["observed_reward"][0]


class Told(gym.Env[Any, Any]):
    """Observes its step in every kind of space that Gymnasium does not batch as an array."""

    observation_space = spaces.Dict(
        {
            "text": spaces.Text(9),
            "list": spaces.Sequence(spaces.Discrete(99)),
            "pair": spaces.Tuple([spaces.Discrete(99), spaces.Text(9)]),
            "box": spaces.Box(0, 99, ()),
        }
    )
    action_space = spaces.Discrete(2)
    elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start."""
        self.elapsed = 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Count to three."""
        self.elapsed += 1
        return self._see(), 1.0, self.elapsed == 3, False, {}

    def _see(self) -> dict[str, Any]:
        now, word = self.elapsed, "x" * (self.elapsed + 1)
        box = np.array(now, np.float32)
        return {"text": word, "list": (now,) * now, "pair": (now, word), "box": box}


@pytest.mark.parametrize("alone", ["text", "list", None])
def test_arrivals_are_read_when_observations_are_not_arrays(alone: str | None) -> None:
    seen: list[Any] = []

    def read(observation: Any) -> Any:  # noqa: ANN401
        seen.append(observation)
        return [True, True]

    def make() -> gym.Env[Any, Any]:
        space = Told.observation_space[alone] if alone else None
        told: gym.Env[Any, Any] = Told()
        return TransformObservation(told, lambda each: each[alone], space) if alone else told

    lanes = SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    env = vector.PartialOversight(lanes, observer=Region(read, at="arrival"))
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.zeros(2, int))
    last = {"text": ("xxxx",) * 2, "list": ((3, 3, 3),) * 2}
    if alone:
        assert seen[-1] == last[alone]
        return
    assert {key: seen[-1][key] for key in last} == last
    assert seen[-1]["pair"][0].tolist() == [3, 3]
    assert seen[-1]["pair"][1] == last["text"]
    assert seen[-1]["box"].tolist() == [3.0, 3.0]
