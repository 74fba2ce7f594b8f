"""The routing core: which samples may teach which part of a network. Torch and nothing else."""

from oversight.routing.audit import audit
from oversight.routing.gate import gate
from oversight.routing.linear import gate_linear
from oversight.routing.module import Gate, routing
from oversight.routing.optimizer import parameter_groups, skip_unreached
from oversight.routing.parameter import gate_parameters, pin
from oversight.routing.table import RouteTable
from oversight.routing.target import Part, parameters_of

__all__ = [
    "Gate",
    "Part",
    "RouteTable",
    "audit",
    "gate",
    "gate_linear",
    "gate_parameters",
    "parameter_groups",
    "parameters_of",
    "pin",
    "routing",
    "skip_unreached",
]
