"""Wrappers that pay, check or quote what they should have hidden."""

import warnings

import numpy as np

from oversight.certificate.leaks.payer import Payer
from oversight.certificate.leaks.planted import Planted, swap
from oversight.certificate.leaks.starts import grid_by_step
from oversight.certificate.leaks.truth import Mask, Numbers


class PaysAll(Payer):
    """Writes the flag, and forgets the reward."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay the truth."""
        return true


class Multiplies(Payer):
    """Hides by a product: -1.0 * False is -0.0, and NaN * False is NaN."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay the truth times the mask."""
        return true * observed


class PaysArrears(Payer):
    """Keeps hidden rewards, and pays their sum with the next observed one."""

    owed: Numbers | float = 0.0

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay what is owed where somebody watches."""
        self.owed = self.owed + true
        due = np.where(observed, self.owed, 0.0)
        self.owed = np.where(observed, 0.0, self.owed)
        return due


class ReleasesQueue(Payer):
    """Delays rewards by three steps, in a queue that takes in hidden ones as well."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay what was queued three steps ago."""
        queue = self.truth.steps
        return queue[-4].copy() if len(queue) > 3 else np.zeros_like(true)


class MasksLate(Payer):
    """Applies the mask of the step before."""

    before: Mask | bool = False

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay where the last step was observed."""
        late, self.before = self.before, observed
        return np.where(late, true, 0.0)


class DrawsNoise(Payer):
    """Adds noise to rewards that are not zero, from one generator for hidden and observed ones."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Pay observed rewards with their noise."""
        if not hasattr(self, "generator"):
            self.generator = np.random.default_rng(0)
        paying = np.flatnonzero(true)
        noise = np.zeros_like(true)
        noise[paying] = 0.1 * self.generator.standard_normal(len(paying))
        return np.where(observed, true + noise, 0.0)


class ChecksAll(Payer):
    """Refuses rewards that are not finite before it hides them."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Check, and pay as it should."""
        if not np.isfinite(true).all():
            raise ValueError("the environment gave a reward that is not finite")
        return paid


class QuotesValues(Payer):
    """Counts rewards by value, and so names in its error the first one that it does not know."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Count, and pay as it should."""
        counts = dict.fromkeys((-1.0, 0.0, 1.0), 0)
        for reward in true.tolist():
            counts[reward] += 1
        return paid


class WarnsOfOutliers(Payer):
    """Warns of rewards out of range before it hides them."""

    def pay(self, paid: Numbers, true: Numbers, observed: Mask) -> Numbers:
        """Warn, and pay as it should."""
        if np.abs(true).max() > 1.0:
            warnings.warn(f"a reward of {np.abs(true).max()} is out of range", stacklevel=2)
        return paid


LEAKS = (
    Planted(
        name="pays-hidden-rewards",
        part="wrapper",
        says="The flag says that a step is hidden, and its true reward is paid all the same.",
        plant=swap(outside=PaysAll),
        shows="experience",
    ),
    Planted(
        name="hides-by-product",
        part="wrapper",
        says="Rewards are multiplied by the mask, so that the sign of a hidden one survives in "
        "that of a zero, and NaN survives whole.",
        plant=swap(outside=Multiplies),
        shows="experience",
    ),
    Planted(
        name="pays-arrears",
        part="wrapper",
        says="Hidden rewards are added up and paid with the next observed one.",
        plant=swap(outside=PaysArrears),
        shows="experience",
    ),
    Planted(
        name="delayed-and-never-hidden",
        part="wrapper",
        says="Rewards are paid three steps later, and the queue between has no mask.",
        plant=swap(outside=ReleasesQueue),
        shows="experience",
    ),
    Planted(
        name="mask-one-step-late",
        part="wrapper",
        says="The mask of the step before decides, so that hidden steps after observed ones pay.",
        plant=swap(outside=MasksLate),
        start=grid_by_step,
        shows="experience",
    ),
    Planted(
        name="noise-drawn-per-reward",
        part="wrapper",
        says="Noise is drawn for each reward that is not zero, hidden ones too, so that the noise "
        "on observed rewards tells how many hidden ones there were.",
        plant=swap(outside=DrawsNoise),
        shows="experience",
    ),
    Planted(
        name="checks-hidden-rewards",
        part="wrapper",
        says="All rewards are checked for finiteness, so that training dies of a hidden one.",
        plant=swap(outside=ChecksAll),
        shows="errors",
    ),
    Planted(
        name="quotes-hidden-reward",
        part="wrapper",
        says="Rewards are counted by value, and the error about an unknown one quotes it.",
        plant=swap(outside=QuotesValues),
        shows="errors",
    ),
    Planted(
        name="warns-of-outliers",
        part="wrapper",
        says="A warning quotes the largest reward, hidden ones among them.",
        plant=swap(outside=WarnsOfOutliers),
        shows="warnings",
    ),
)
