"""README.md shows how each client is used. The snippets are those of the clients' own pages, which their tests run."""

import re

import pytest

from harness.server import ROOT

LANGUAGES = {"ts": "typescript", "python": "python", "go": "go", "java": "java", "rust": "rust"}


@pytest.mark.parametrize("fence", LANGUAGES)
def test_each_language_has_one_snippet_and_its_client_page_has_the_same(fence: str) -> None:
    snippets = re.findall(rf"^```{fence}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(snippets) == 1
    assert snippets[0] in (ROOT / "clients" / LANGUAGES[fence] / "README.md").read_text()


def test_each_relative_link_of_the_readme_leads_to_a_file() -> None:
    prose = re.sub(r"^```.*?^```$", "", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#]+)", prose):
        assert "://" in target or (ROOT / target).exists(), target
