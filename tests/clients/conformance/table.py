"""The table of clients/README.md: how many scenarios of each file each client passed."""

from conformance.player import Played
from conformance.scenarios import Scenario
from harness.server import ROOT

README = ROOT / "clients" / "README.md"
BEGIN, END = "<!-- conformance -->", "<!-- end of conformance -->"


def render(scenarios: tuple[Scenario, ...], results: dict[str, dict[str, Played]]) -> str:
    """One line a file, one column a client."""
    languages = list(results)
    lines = [f"| scenarios | {' | '.join(languages)} |", f"| --- |{' --- |' * len(languages)}"]
    topics = list(dict.fromkeys(scenario.topic for scenario in scenarios))
    for topic in topics:
        ids = [scenario.id for scenario in scenarios if scenario.topic == topic]
        cells = [passed(ids, results[language]) for language in languages]
        lines.append(f"| [{topic}](conformance/{topic}.json) | {' | '.join(cells)} |")
    cells = [passed([scenario.id for scenario in scenarios], results[language]) for language in languages]
    lines.append(f"| all | {' | '.join(cells)} |")
    return "\n".join(lines)


def passed(ids: list[str], results: dict[str, Played]) -> str:
    count = sum(not results[it].problem for it in ids)
    return str(count) if count == len(ids) else f"{count} of {len(ids)}"


def written() -> str:
    """The table as it stands in the page."""
    return README.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write(table: str) -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}")
