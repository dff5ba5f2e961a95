"""Draws docs/images/fleet.svg: one outage, with a breaker in each process and with one shared breaker.

`make fleet` runs it. The picture is a recording: twelve replicas, each with a client of its own, call one dependency
that is down for a while, and each dot is a call that reached it. For the upper half there is no server, so that each
client uses its local breaker. For the lower half there is one. The policy is the same.
"""

import random
import threading
import time
from dataclasses import dataclass

import fuseboard

from harness import Fuseboard
from harness.server import ROOT, free_port

REPLICAS = 12
# Seconds from the start of the run.
DOWN = 2.0
UP = 8.0
END = 13.0
# Each replica calls about this often.
INTERVAL_S = 0.2
POLICY = fuseboard.Policy(failure_threshold=5, open_duration=1.5)


class DependencyDownError(Exception):
    """What the dependency answers while it is down."""


@dataclass(frozen=True)
class Call:
    """A call of a replica: when, and what became of it (`success`, `failure` or `rejected`)."""

    replica: int
    at: float
    outcome: str


def run(address: str) -> list[Call]:
    """What a fleet's calls came to, with its clients pointed at `address`."""
    clients = [fuseboard.Client(address, caller=f"web/{replica}") for replica in range(REPLICAS)]
    breakers = [client.breaker("payments", policy=POLICY) for client in clients]
    for breaker in breakers:
        breaker.execute(lambda: None)
    time.sleep(0.5)
    calls: list[Call] = []
    start = time.monotonic()

    def dependency() -> None:
        if DOWN <= time.monotonic() - start < UP:
            raise DependencyDownError

    def replica(number: int) -> None:
        chance = random.Random(number)
        due = chance.random() * INTERVAL_S
        while due < END:
            time.sleep(max(0.0, start + due - time.monotonic()))
            at = time.monotonic() - start
            try:
                breakers[number].execute(dependency)
                outcome = "success"
            except DependencyDownError:
                outcome = "failure"
            except fuseboard.RejectedError:
                outcome = "rejected"
            calls.append(Call(number, at, outcome))
            due += INTERVAL_S * (0.75 + chance.random() / 2)

    threads = [threading.Thread(target=replica, args=(number,)) for number in range(REPLICAS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    return calls


# The drawing, in pixels.
LEFT, RIGHT, ROW, SECOND = 24, 24, 12, 62
WIDTH = int(LEFT + END * SECOND + RIGHT)
PANEL = ROW * REPLICAS + 58
COLORS = {"success": "#2da44e", "failure": "#cf222e", "rejected": "#afb8c1"}
WIDTHS = {"success": 5, "failure": 8, "rejected": 1}


def panel(top: int, title: str, calls: list[Call]) -> list[str]:
    """One half of the picture."""
    failures = sum(call.outcome == "failure" for call in calls)
    rows = top + 38
    middle = LEFT + (DOWN + UP) / 2 * SECOND
    drawn = [
        f'<text x="{LEFT}" y="{top + 20}" class="title">{title}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{top + 20}" class="note" text-anchor="end">'
        f"{failures} calls reached the dependency while it was down</text>",
        f'<rect x="{LEFT + DOWN * SECOND:.0f}" y="{rows - 8}" width="{(UP - DOWN) * SECOND:.0f}" '
        f'height="{ROW * REPLICAS + 4}" fill="#ffebe9"/>',
        f'<text x="{middle:.0f}" y="{rows + ROW * REPLICAS + 10}" class="note" text-anchor="middle">'
        "dependency down</text>",
    ]
    # One path an outcome, of strokes without length and with round ends: a dot each.
    for outcome, color in COLORS.items():
        stroke = "v4" if outcome == "rejected" else "h0"
        places = (
            f"M{LEFT + call.at * SECOND:.0f} {rows + call.replica * ROW - (2 if outcome == 'rejected' else 0)}{stroke}"
            for call in calls
            if call.outcome == outcome
        )
        drawn.append(
            f'<path d="{"".join(places)}" stroke="{color}" stroke-width="{WIDTHS[outcome]}" stroke-linecap="round"/>'
        )
    return drawn


def main() -> None:
    """Runs both fleets and writes the picture."""
    alone = run(f"127.0.0.1:{free_port()}")
    with Fuseboard() as server:
        shared = run(server.address)
    height = 2 * PANEL + 26
    legend = "".join(
        f'<tspan dx="8" style="fill:{COLORS[outcome]}">{sign}</tspan> {text}'
        for outcome, sign, text in (
            ("success", "●", "success"),
            ("failure", "●", "failure"),
            ("rejected", "|", "rejected without a call"),
        )
    )
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="An outage with a breaker in each process, and with Fuseboard">',
        "<style>text{font:13px system-ui,sans-serif;fill:#1f2328}"
        ".title{font-weight:600;font-size:15px}.note{fill:#59636e}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fff"/>',
        *panel(4, f"A breaker in each of {REPLICAS} replicas", alone),
        *panel(4 + PANEL, "One breaker in Fuseboard", shared),
        f'<text x="{LEFT}" y="{height - 10}" class="note">{END:.0f} s, one row per replica: {legend}</text>',
        "</svg>",
    ]
    (ROOT / "docs/images/fleet.svg").write_text("\n".join(svg) + "\n")
    for name, calls in (("alone", alone), ("shared", shared)):
        print(name, {outcome: sum(call.outcome == outcome for call in calls) for outcome in COLORS})


if __name__ == "__main__":
    main()
