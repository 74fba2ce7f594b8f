"""Arguments of a `Method`: what each may be, and what its functions are called with."""

from inspect import signature

from agents.losses import AuxiliaryLoss

TEXTS = {"name": "a word", "summary": "a sentence"}

FUNCTIONS = {
    "source": ("learner",),
    "assignment": ("pool", "order", "propensity"),
    "reweighting": ("table", "routes", "propensity"),
}
"""The functions of a method, and what they are called with."""


def require_texts(**given: object) -> None:
    """Raise a ValueError for a name or a summary that is no text."""
    for name, text in given.items():
        if not isinstance(text, str) or not text:
            raise ValueError(f"the {name} of a method must be {TEXTS[name]}, got {text!r}")


def require_function(name: str, function: object) -> None:
    """Raise a ValueError for a function of a method that is none, or takes other arguments.

    Args:
        name: one of `FUNCTIONS`, of which all but `source` may be None.
        function: what was given.
    """
    if function is None and name != "source":
        return
    if not callable(function):
        raise ValueError(
            f"{name} must be a function, got {function!r}: those of the methods are in "
            "agents.reward_model, agents.rollout_buffer and agents.methods"
        )
    arguments = FUNCTIONS[name]
    try:
        signature(function).bind(*arguments)
    except TypeError as error:
        raise ValueError(
            f"{name} must be a function of ({', '.join(arguments)}), got {function!r}: {error}"
        ) from None
    except ValueError:  # a builtin without a signature is tried when it is called
        return


def auxiliary_losses(given: object) -> tuple[AuxiliaryLoss, ...]:
    """Return auxiliary losses as a tuple.

    Raises:
        ValueError: if they are something else, or two of them have one name.
    """
    losses = tuple(given) if isinstance(given, list | tuple) else (given,)
    for loss in losses:
        if not isinstance(loss, AuxiliaryLoss):
            raise ValueError(
                f"auxiliary must be a tuple of AuxiliaryLoss, got {loss!r}: leave it out, or give "
                "some of agents.losses"
            )
    names = [loss.name for loss in losses]
    if len(set(names)) < len(names):
        raise ValueError(
            f"auxiliary losses are logged by name, got {', '.join(names)}: give each of them "
            "another name, as in MixtureLoss(name='second_mixture_loss')"
        )
    return losses
