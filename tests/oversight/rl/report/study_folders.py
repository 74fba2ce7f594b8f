"""Study folders with constructed returns, in the format that a sweep writes."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch.utils.tensorboard.writer import SummaryWriter

from oversight.rl.report.comparison import Panel
from oversight.rl.result_files import COLUMNS, parse_row

LEVELS = (0.01, 0.1, 1.0)
RETURNS = {
    "routed": (0.60, 0.80, 0.94),
    "naive": (0.40, 0.79, 0.95),
    "filtered": (0.10, 0.60, 0.95),
    "oracle": (0.95, 0.95, 0.95),
}
"""True return at `LEVELS`: routed wins at 0.01 and draws with naive at 0.1."""
SMALL = {name: RETURNS[name] for name in ("routed", "naive", "oracle")}
SPREAD = 0.02  # of seeds

Rows = list[dict[str, Any]]


def rows_of(
    returns: Mapping[str, Sequence[float]] = RETURNS,
    levels: Sequence[float] = LEVELS,
    seeds: Sequence[int] = range(5),
    variation: str = "default",
) -> Rows:
    """Return the rows of a study: three rules per run; oracle_selection is better by 0.03."""
    rows = []
    for method, heights in returns.items():
        for level, height in zip(levels, heights, strict=True):
            for seed in seeds:
                middle = "" if variation == "default" else f"{variation}-"
                run = f"{method}-{middle}p{level:g}-seed{seed}"
                for rule, gain in (("last", -0.01), ("observed", 0.0), ("oracle_selection", 0.03)):
                    score = height + gain + SPREAD * offset(method, seed)
                    rows.append(
                        {
                            **{"run": run, "study": "constructed", "method": method},
                            **{"variation": variation, "oversight_probability": level},
                            **{"seed": seed, "rule": rule, "step": 1_000_000},
                            "true_return": score,
                            "true_return_observed": min(score + 0.05, 1.0),
                            "true_return_unobserved": score if level < 1 else None,
                            "observed_episodes": int(300_000 * level),
                            **{"env_steps": 1_500_000, "wall_seconds": 36.0, "commit": "abc123"},
                        }
                    )
    return rows


def world_rows(
    world: str,
    goals: Mapping[str, Mapping[float, Sequence[tuple[float, float]]]],
) -> Rows:
    """Return the rows of runs in a grid world, of every rule alike.

    Args:
        world: the variation.
        goals: by method and level, GMG and CAP of each seed, from 10 on; the true return is the
            share that reached the goal, CAP * (1 - GMG).
    """
    rows = []
    for method, levels in goals.items():
        for level, pairs in levels.items():
            made = rows_of({method: (0.0,)}, [level], range(10, 10 + len(pairs)), world)
            for row in made:
                gmg, cap = pairs[row["seed"] - 10]
                score = cap * (1 - gmg)
                row |= {"gmg_rate": gmg, "cap_rate": cap, "goal_rate": score, "true_return": score}
                row |= {"true_return_observed": score, "train_return": score, "train_cap_rate": cap}
                row["true_return_unobserved"] = score if level < 1 else None
            rows += made
    return rows


def offset(method: str, seed: int) -> float:
    """Return a number from -1 to 1 that looks random, the same every time."""
    return float(np.random.default_rng([seed, *method.encode()]).uniform(-1, 1))


def panel_of(rows: Rows, rule: str = "observed") -> Panel:
    """Return rows of one variation as the report compares them."""
    return Panel("default", pd.DataFrame(map(parse_row, rows), columns=list(COLUMNS)), rule)


def write_study(folder: Path, rows: Rows, **others: object) -> Path:
    """Write the results files of a study; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = {row["run"] for row in rows}
    content = {"study": "constructed", "runs": len(runs), "missing": [], "failed": [], "rows": rows}
    (folder / "results.json").write_text(json.dumps({**content, **others}))
    if rows:
        with (folder / "results.csv").open("w", newline="") as file:
            names = dict.fromkeys(name for row in rows for name in row)
            writer = csv.DictWriter(file, list(names))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def write_runs(folder: Path, rows: Rows, points: int = 6) -> None:
    """Write the run folders of a study: settings, events and a module map."""
    for run, row in {row["run"]: row for row in reversed(rows)}.items():
        path = folder / "runs" / run
        path.mkdir(parents=True, exist_ok=True)
        versions = {"torch": "2.13.0", "numpy": "2.4.6"}
        (path / "config.json").write_text(json.dumps({"versions": versions}))
        Image.new("RGB", (120, 40), (40, 120, 180)).save(path / "modules.png")
        write_events(path, row, points)


def write_events(folder: Path, row: Mapping[str, Any], points: int) -> None:
    """Write a learning curve that rises to the run's return in a straight line."""
    log = folder / "tensorboard" / folder.name / "goal-deployed"
    with SummaryWriter(str(log)) as writer:
        for point in range(points + 1):
            share, step = point / points, int(row["env_steps"] * point / points)
            writer.add_scalar("eval/true_return", row["true_return"] * share, step)
            if row["true_return_unobserved"] is not None:
                value = row["true_return_unobserved"] * share
                writer.add_scalar("eval/true_return_unobserved", value, step)


def write_damaged_study(path: Path) -> Path:
    """Write a study of two variations with every kind of damage, and two runs missing."""
    rows = rows_of(SMALL, seeds=range(3))
    rows += rows_of({"naive": (0.7, 0.7, 0.7)}, seeds=range(2), variation="hidden_flag")
    rows[1]["flag_flip_gap"], rows[2]["commit"] = 0.1 + 0.2, "def456-dirty"
    missing = ["naive-p0.1-seed1", "naive-p0.1-seed2"]
    kept = [row for row in rows if row["run"] not in missing]
    write_runs(write_study(path, kept, missing=missing, runs=33), kept)
    runs = path / "runs"
    (events,) = (runs / "naive-p0.1-seed0").rglob("events*")
    events.write_bytes(events.read_bytes()[:-9])
    (runs / "oracle-p0.1-seed1" / "config.json").write_text("{")
    (runs / "routed-p0.1-seed0" / "modules.png").write_bytes(b"no picture")
    (runs / "routed-p1-seed0" / "config.json").write_text(
        json.dumps({"versions": {"torch": "9.9", "numpy": "2.4.6"}, "grid": {"flag": "odd"}})
    )
    return path
