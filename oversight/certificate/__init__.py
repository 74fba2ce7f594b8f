"""The certificate that hidden rewards change nothing that the learner has."""

from oversight.certificate.certificate import Certificate, certify
from oversight.certificate.setup import Setup, make_setup
from oversight.certificate.tampering import TAMPERS

__all__ = ["TAMPERS", "Certificate", "Setup", "certify", "make_setup"]
