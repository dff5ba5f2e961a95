"""The time of a server that runs with `--manual-clock`."""

from __future__ import annotations

import grpc

from fuseboard.options import Duration, as_seconds
from fuseboard.testing.v1 import clock_service_pb2, clock_service_pb2_grpc


class ManualClock:
    """Moves the time of a server that was started with `--manual-clock`."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._stub = clock_service_pb2_grpc.ClockServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def advance(self, duration: Duration) -> None:
        """Moves it forward. Whatever falls due has happened when this comes back."""
        request = clock_service_pb2.AdvanceRequest()
        request.duration.FromNanoseconds(round(as_seconds(duration) * 1e9))
        self._stub.Advance(request, timeout=10)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> ManualClock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
