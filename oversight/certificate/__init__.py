"""The certificate that hidden rewards change nothing that the learner has, and the leak meter."""

from oversight.certificate.certificate import Certificate, certify
from oversight.certificate.leak_meter import LeakReport, probe
from oversight.certificate.setup import Setup, make_setup
from oversight.certificate.tampering import TAMPERS

__all__ = ["TAMPERS", "Certificate", "LeakReport", "Setup", "certify", "make_setup", "probe"]
