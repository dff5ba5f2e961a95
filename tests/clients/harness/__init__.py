"""What the Python and grpcurl tests share: a server of their own, and the bounds on waiting for it."""

from harness.server import Fuseboard, binary

__all__ = ["Fuseboard", "binary"]
