"""The certificate of non-interference: what is hidden changes nothing that the learner has."""

from oversight.certificate.certificate import Certificate, certify
from oversight.certificate.setup import Setup, around
from oversight.certificate.tampering import TAMPERS

__all__ = ["TAMPERS", "Certificate", "Setup", "around", "certify"]
