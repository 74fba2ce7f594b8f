"""The certificate of non-interference: what is hidden changes nothing that the learner has."""

from oversight.certificate.environments import around
from oversight.certificate.setup import Setup
from oversight.certificate.tamper import TAMPERS
from oversight.certificate.verdict import Certificate, certify

__all__ = ["TAMPERS", "Certificate", "Setup", "around", "certify"]
