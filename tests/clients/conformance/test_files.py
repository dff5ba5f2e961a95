"""What the runner itself promises: files are checked, expectations mean what they say."""

from pathlib import Path

import pytest

from conformance import scenarios
from conformance.expect import mismatches
from conformance.scenarios import BadFileError


def test_every_scenario_file_is_understood() -> None:
    assert scenarios.load()


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ('{"do": "aquire"}', "no command 'aquire'"),
        ('{"do": "acquire", "key": "db"}', "unknown ['key']"),
        ('{"do": "report", "permit": "p"}', "report without ['outcome']"),
        ('{"until": {"do": "view"}}', "until what?"),
        ('{"do": "view"}', "expects nothing"),
    ],
)
def test_a_step_that_is_not_understood_is_an_error(tmp_path: Path, step: str, complaint: str) -> None:
    path = tmp_path / "topic.json"
    path.write_text('{"topic": "topic", "scenarios": [{"name": "it is", "steps": [' + step + "]}]}")
    with pytest.raises(BadFileError) as caught:
        scenarios.read(path)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": None}, {}),
        ({"a": None}, {"a": ""}),
        ({"a": 0}, {}),
        ({"a": 15}, {"a": 15.000000000000014}),
        ({"a": {"at_most": 3}}, {}),
        ({"a": {"between": [1, 2]}}, {"a": 2}),
        ({"a": {"at_most": 20000}}, {"a": 20000.00003}),
        ({"a": {"one_of": ["x", "y"]}}, {"a": "y"}),
        ({"a": [{"b": 1}, {}]}, {"a": [{"b": 1, "c": 2}, {"d": 3}]}),
    ],
)
def test_an_answer_matches(expected: object, actual: object) -> None:
    assert mismatches(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual", "problem"),
    [
        ({"a": 1}, {"a": True}, "a: expected 1, got True"),
        ({"a": True}, {"a": 1}, "a: expected True, got 1"),
        ({"a": 1}, {}, "a: expected 1, got None"),
        ({"a": None}, {"a": "x"}, "a: expected None, got 'x'"),
        ({"a": {"at_least": 1}}, {}, "a: expected at_least 1, got None"),
        ({"a": {"at_most": 1}}, {"a": "x"}, "a: expected at_most 1, got 'x'"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b: expected 1, got 2"),
        ({"a": [1]}, {"a": [1, 2]}, "a: expected 1 elements, got 2: [1, 2]"),
        ({"a": [1]}, {"a": [2]}, "a[0]: expected 1, got 2"),
    ],
)
def test_an_answer_does_not_match(expected: object, actual: object, problem: str) -> None:
    assert mismatches(expected, actual) == [problem]
