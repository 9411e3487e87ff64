from __future__ import annotations

import re

import pytest

from tests.reporting import synthetic
from tests.reporting.test_summary import rows
from tests.reporting.test_verdict import EXPERIMENT
from ttfm.evaluation.catalogue import names
from ttfm.evaluation.image_metrics import DEFAULTS
from ttfm.reporting.costs import cost_table
from ttfm.reporting.markup import latex, latex_text, markdown, markdown_text
from ttfm.reporting.summary import pick, summarise
from ttfm.reporting.tables import Cell, Row, Table, headline_table, metric_table

SMALL = Table(
    name="ring--endpoint_rmse",
    title="Ring",
    about="About.",
    rules="Rules.",
    scored="N = 5.",
    stub="Method",
    header=("1 step", "2 steps"),
    groups=(),
    body=(
        Row("a", "A_1", (Cell("0.083", "0.005", "3", best=True, value=0.083), Cell("failed", why="NaN"))),
        Row("b", "B & C", (Cell("0.085", "0.004", "2/3", tie=True, value=0.085), Cell("0.100", n="1", value=0.1))),
    ),
    references=(Row("data", "Floor", (Cell("0.010", span=2, value=0.01),)),),
    notes=("A_1 failed.",),
)


def test_markdown_by_hand():
    assert markdown(SMALL).splitlines() == [
        "### Ring",
        "",
        "| Method | 1 step | 2 steps |",
        "|:--|--:|--:|",
        "| A\\_1 | **0.083 ± 0.005 (3)** | failed |",
        "| B &amp; C | 0.085 ± 0.004 (2/3) † | 0.100 (1) |",
        "| **References** | | |",
        "| *Floor* | 0.010 | 0.010 |",
        "",
        "About. Rules. N = 5.",
        "",
        "- A\\_1 failed.",
    ]


def test_latex_by_hand():
    lines = [line.strip() for line in latex(SMALL).splitlines()]
    body = lines[lines.index(r"\toprule") : lines.index(r"\bottomrule") + 1]
    assert body == [
        r"\toprule",
        r"Method & 1 step & 2 steps \\",
        r"\midrule",
        r"A\_1 & \textbf{0.083} $\pm$ 0.005 (3) & failed \\",
        r"B \& C & 0.085 $\pm$ 0.004 (2/3)\textsuperscript{\textdagger} & 0.100 (1) \\",
        r"\midrule",
        r"Floor & \multicolumn{2}{c}{0.010} \\",
        r"\bottomrule",
    ]
    assert r"\caption{Ring. About. Rules. N = 5.}" in lines


def test_escaping_is_letter_by_letter():
    assert markdown_text("<b> a|b_c* [x]\n#") == "&lt;b&gt; a\\|b\\_c\\* \\[x\\] \\#"
    assert latex_text(r"\{}$&#%_^~<>") == (
        r"\textbackslash{}\{\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}\textless{}\textgreater{}"
    )
    # A row that opens with a bracket would be read as the argument of the line break before it.
    assert latex_text("[x]*") == "{[}x{]}{*}"


def test_hostile_names_stay_text_in_every_written_table(results):
    tables = sorted((results / "tables").glob("*.md"))
    assert len(tables) == len(names("points")) + len(names("images", [*DEFAULTS["digits"], *synthetic.NEAREST])) + 4
    for path in tables:
        text = path.read_text(encoding="utf-8")
        assert "<script>" not in text and "&lt;script&gt;alert(1)&lt;/script&gt; a\\_b &amp; c \\|" in text
        for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    for path in sorted((results / "tables").glob("*.tex")):
        text = path.read_text(encoding="utf-8")
        assert r"\textless{}script\textgreater{}alert(1)" in text and r"a\_b \& c \textbar{} 100 \% \$x\$" in text
        rows = re.findall(r"^    (?!\\)(.*) \\\\$", text, re.M)
        columns = {sum(int(n or 1) for n in re.findall(r"(?<!\\)&(?: \\multicolumn\{(\d+)\})?", row)) for row in rows}
        assert rows and (len(columns) == 1 or path.name == "cost.tex")
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_metric_table_of_the_experiment(summary, experiment):
    table = metric_table(summary, experiment, "digits", "fd-digits")
    assert table.header == ("1 step", "2 steps", "4 steps", "8 steps")
    assert [row.student for row in table.references] == ["data", "teacher", "teacher_euler"]
    assert [cell.span for cell in table.references[0].cells] == [4]
    broken = next(row for row in table.body if row.student == "mf_distill")
    assert {cell.n for cell in broken.cells} == {"2/3"}
    scored = ("N = 2048", "split test", "extractor digits-classifier 1f3a", "n = 2 to 3 seeds", "0123456789ab", "cpu")
    for part in scored:
        assert part in table.caption
    assert any(synthetic.REASON in note for note in table.notes)


def test_bold_and_daggers_are_those_of_the_summary(summary, experiment):
    table = metric_table(summary, experiment, "ring", "energy_distance")
    seen = set()
    for row in table.body:
        for k, cell in zip(synthetic.BUDGETS, row.cells, strict=True):
            known = pick(summary, "ring", "energy_distance", row.student, k)
            assert (cell.best, cell.tie, cell.value) == (known["best"], known["tie"], known["mean"])
            seen |= {name for name in ("best", "tie") if getattr(cell, name)}
    assert seen == {"best", "tie"}
    assert all(sum(row.cells[i].best for row in table.body) == 1 for i in range(4))


def test_metrics_without_steps_have_one_column(summary, experiment):
    table = metric_table(summary, experiment, "ring", "tangent_defect")
    assert table.header == ("value",) and all(len(row.cells) == 1 for row in table.body)
    missing = next(row for row in table.body if row.student == "cd")
    assert missing.cells[0].text == "–" and missing.cells[0].why == synthetic.RENOISE
    assert table.notes == ("Consistency distillation has no value: re-noising leaves the ODE path.",)


def test_a_gap_shared_by_everyone_is_said_once(summary, experiment):
    table = metric_table(summary, experiment, "digits", "lpips-squeeze")
    assert table.notes == (f"Every student has no value: {synthetic.NO_WEIGHTS}.",)


def test_headline_table_has_every_problem_and_budget(summary, experiment):
    table = headline_table(summary, experiment)
    assert [span for _, span in table.groups] == [4, 4] and len(table.header) == 8
    assert [row.student for row in table.body] == list(synthetic.STUDENTS)
    assert all(sum(cell.span for cell in row.cells) == 8 for row in (*table.body, *table.references))


def test_cost_table(costs, experiment):
    table = cost_table(costs, experiment, "digits")
    assert [row.student for row in table.references] == ["teacher"]
    broken = next(row for row in table.body if row.student == "mf_distill")
    assert broken.cells[0].text == "2/3"
    itvm = next(row for row in table.body if row.student == "itvm")
    assert [cell.text for cell in itvm.cells[-4:]] == ["2.5", "1", "0", "1"]
    assert any("1 of 3 runs failed" in note for note in table.notes)


def test_cost_means_leave_failed_runs_out(data, costs):
    runs = data.costs[(data.costs["problem"] == "digits") & (data.costs["student"] == "mf_distill")]
    row = costs[(costs["problem"] == "digits") & (costs["student"] == "mf_distill")].iloc[0]
    assert row["seconds"] == pytest.approx(runs.loc[runs["status"] == "ok", "seconds"].mean())
    assert row["seconds"] > 1.3 * runs["seconds"].mean()
    assert (row["n"], row["failed"], row["peak_memory_mb"]) == (2, 1, 413.0)


def test_a_description_of_the_flow_is_not_ranked():
    table = summarise(rows({"a": [1.0, 1.1], "b": [5.0, 5.1]}, metric="straightness"), EXPERIMENT)
    assert not table["best"].any()
    assert "nothing is ranked" in metric_table(table, EXPERIMENT, "ring", "straightness").rules
