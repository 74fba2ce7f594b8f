"""Presets of `python -m oversight.split`, and the settings of the paper's Table 2, as data.

A preset is a sentence for the help page, and the settings that differ from the defaults, by the
names of their flags. The paper is Cloud et al. 2024 (arXiv 2410.04332), section 4.1 and appendix B.
"""

from typing import Any

# Appendix B: 784-2048-512-32, 200 epochs of batches of 2,048 of 60,000 digits, that is 6,000 steps.
MNIST: dict[str, Any] = {
    "data": "mnist",
    "hidden_sizes": (2048, 512),
    "steps": 6000,
    "batch_size": 2048,
    "learning_rate": 1e-3,
    "l1": (3e-3,),
    "eval_every": 250,
    "checkpoint_every": 250,
}
# What a CPU can do: 1/32 of the images of all batches.
MNIST_SHORT: dict[str, Any] = {**MNIST, "steps": 1500, "batch_size": 256}
# L1 as in the paper's classifier of CIFAR-100, which has no correlation penalty (appendix B.1).
CLASSIFY: dict[str, Any] = {
    "task": "classify",
    "hidden_sizes": (32, 64),
    "l1": (3e-2,),
    "correlation": 0.0,
}

NO_PENALTY: dict[str, Any] = {"l1": (0.0,), "correlation": 0.0}
ONE_GROUP: dict[str, Any] = {"trained_groups": (1,), "correlation": 0.0}

TABLE2: dict[str, tuple[Any, dict[str, Any], tuple[float, float]]] = {
    "1-routed": ("routed", {}, (0.32, 0.08)),
    "2-separate": ("routed", {"separate_decoders": True}, (0.33, 0.07)),
    "3-no-correlation": ("routed", {"correlation": 0.0}, (0.28, 0.11)),
    "4-no-penalty": ("routed", NO_PENALTY, (0.32, 0.32)),
    "5-no-penalty-separate": (
        "routed",
        {**NO_PENALTY, "separate_decoders": True},
        (0.09, 0.08),
    ),
    # The part of 5-9, the paper's bottom half, is trained on all digits.
    "6-one-group-routed": ("routed", {"routed_groups": (1,), "l1": (3e-3, 2e-2)}, (0.23, 0.13)),
    # The paper names no correlation penalty for it.
    "7-trained-on-5-9": (
        "unrouted",
        {**ONE_GROUP, "l1": (1e-3,)},
        (0.27, 0.11),
    ),
    "8-trained-on-5-9-no-penalty": ("unrouted", {**ONE_GROUP, **NO_PENALTY}, (0.08, 0.08)),
    "9-unrouted": ("unrouted", {}, (0.13, 0.13)),
    "10-unrouted-no-penalty": ("unrouted", NO_PENALTY, (0.08, 0.09)),
}
"""The settings of Table 2 in its order: the method, what differs from the first setting, and the
errors that the paper prints, of the certificate of the part of 5-9 on 0-4 and on 5-9."""


SENTENCES = (
    "routing",
    "routing, a decoder for each group",
    "routing without the correlation penalty",
    "routing without penalties",
    "routing without penalties, a decoder for each group",
    "routing of 5-9 alone, and more L1 on their part",
    "no routing, trained on 5-9 alone",
    "no routing and no penalties, trained on 5-9 alone",
    "no routing",
    "no routing and no penalties",
)
"""The settings of Table 2 in words."""


def _row(number: int, name: str) -> tuple[str, dict[str, Any]]:
    method, values, (wrong, right) = TABLE2[name]
    figures = f"the paper: {wrong:.2f} and {right:.2f}."
    said = f"Table 2, row {number}: {SENTENCES[number - 1]}; {figures}"
    return said, {**MNIST, **values, "method": (method,)}


PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("Digits of scikit-learn, routed and unrouted, 5 seeds.", {}),
    "smoke": (
        "A study of seconds, to see that everything works; it learns next to nothing.",
        {"steps": 20, "hidden_sizes": (16,), "seeds": (0,), "eval_every": 10},
    ),
    "parts10": (
        "One digit for each part of the code.",
        {"parts": 10, "code_size": 40},
    ),
    "classify": ("A small convolutional classifier of the digits.", CLASSIFY),
    "mnist1d": ("Signals of MNIST-1D.", {"data": "mnist1d"}),
    "mnist1d-classify": ("A small classifier of MNIST-1D.", {**CLASSIFY, "data": "mnist1d"}),
    "mnist": ("The paper's setting: MNIST for 6,000 steps of 2,048 images, for a GPU.", MNIST),
    "mnist-short": ("The paper's network for 1,500 steps of 256 images, for a CPU.", MNIST_SHORT),
    "mnist-classify": (
        "A small classifier of MNIST.",
        {**CLASSIFY, "data": "mnist"},
    ),
    "table2": ("All ten settings of the paper's Table 2.", {**MNIST, "sweep": "table2"}),
    "table2-short": (
        "All ten settings, for 1,500 steps of 256 images.",
        {**MNIST_SHORT, "sweep": "table2"},
    ),
    **{f"table2-{number}": _row(number, name) for number, name in enumerate(TABLE2, start=1)},
}


def preset_for(data: str, task: str) -> str:
    """Return the preset that a study starts from by default.

    >>> preset_for("digits", "classify"), preset_for("mnist", "reconstruct")
    ('classify', 'mnist')
    """
    if data == "digits":
        return "classify" if task == "classify" else "default"
    return f"{data}-classify" if task == "classify" else data
