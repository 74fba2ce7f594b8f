"""The leak meter: how well what a learner sees predicts the rewards that are hidden from it."""

from oversight.certificate.leak_meter.meter import LeakReport, probe

__all__ = ["LeakReport", "probe"]
