"""For tests of programs that use this package: breakers without a server, and a server whose time stands still.

    client = FakeClient()
    client.open("payments", retry_after=12)
    app = App(client)          # takes it for a fuseboard.Client
    ...
    assert client.outcomes("payments") == ["success", "failure"]

`FakeAioClient` is the same in place of a `fuseboard.aio.Client`.
"""

from fuseboard.testing._clock import ManualClock
from fuseboard.testing._fake import FakeAioClient, FakeClient

__all__ = ["FakeAioClient", "FakeClient", "ManualClock"]
