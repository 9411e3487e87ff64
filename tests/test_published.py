from pathlib import Path

import pytest
import yaml

from ttfm.experiment import ExperimentError, read_schema
from ttfm.planning import PUBLISHED
from ttfm.published import read_published

SCHEMA = read_schema(PUBLISHED)
GOOD = {"metric": "fid", "about": "FID as printed.", "rows": [{"method": "A", "source": "B", "values": {1: 8.1}}]}


@pytest.mark.parametrize("path", sorted(Path("workflow/published").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_files_that_come_with_the_package_can_be_read(path):
    rows = read_published(str(path), SCHEMA)["rows"]
    assert all(steps.isdigit() and value > 0 for row in rows for steps, value in row["values"].items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": 3}, "metric: 3 has the wrong type"),
        ({"rows": []}, "rows: "),
        ({"rows": [{"method": "A", "values": {1: 2.0}}]}, "'source' is a required property"),
        ({"rows": [{"method": "A", "source": "B", "values": {0: 2.0}}]}, "rows.0.values"),
        ({"rows": [{"method": "A", "source": "B", "values": {1: "low"}}]}, "rows.0.values.1: 'low' has the wrong type"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path, change, message):
    path = tmp_path / "printed.yaml"
    path.write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(ExperimentError, match=r"published: .*printed\.yaml") as error:
        read_published(str(path), SCHEMA)
    assert message in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ExperimentError, match=r"none\.yaml cannot be read"):
        read_published(str(tmp_path / "none.yaml"), SCHEMA)
    (tmp_path / "broken.yaml").write_text("rows: [")
    with pytest.raises(ExperimentError, match=r"broken\.yaml is not valid YAML"):
        read_published(str(tmp_path / "broken.yaml"), SCHEMA)
    (tmp_path / "text.yaml").write_text("only words")
    with pytest.raises(ExperimentError, match=r"text\.yaml"):
        read_published(str(tmp_path / "text.yaml"), SCHEMA)
