"""The routing core: which samples may teach which part of a network. Torch and nothing else."""

from oversight.routing.audit import audit
from oversight.routing.gate import Gate, gate, routing
from oversight.routing.parameters import (
    Part,
    gate_linear,
    gate_parameters,
    parameter_groups,
    parameters_of,
    pin,
    skip_unreached,
)
from oversight.routing.table import RouteTable

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
