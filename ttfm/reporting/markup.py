"""Tables as Markdown and LaTeX (booktabs); names are escaped, so any of them may hold any character."""

from __future__ import annotations

from ttfm.reporting.tables import Cell, Row, Table

_MARKDOWN = str.maketrans({
    "\\": "\\\\", "`": "\\`", "*": "\\*", "_": "\\_", "[": "\\[", "]": "\\]", "|": "\\|", "#": "\\#", "~": "\\~",
    "$": "\\$", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " ", "\t": " ",
})  # fmt: skip
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", '"': "''",
    "±": r"$\pm$", "−": "$-$", "†": r"\textdagger{}", "–": "--", "—": "---",
    "²": r"\textsuperscript{2}", "…": r"\ldots{}", "×": r"$\times$", "\n": " ", "\r": " ", "\t": " ",
})  # fmt: skip


def markdown_text(text: str) -> str:
    """``text`` such that Markdown (with raw HTML and pipe tables) shows it letter by letter."""
    return text.translate(_MARKDOWN)


def latex_text(text: str) -> str:
    """``text`` such that LaTeX prints it letter by letter."""
    return text.translate(_LATEX)


def plain_cell(cell: Cell) -> str:
    """A cell without markup: "0.083 ± 0.005 (3)"."""
    text = f"{cell.text} ± {cell.ci}" if cell.ci else cell.text
    return f"{text} ({cell.n})" if cell.n else text


def _markdown_row(row: Row, *, reference: bool) -> str:
    cells = [f"*{markdown_text(row.title)}*" if reference else markdown_text(row.title)]
    for cell in row.cells:
        text = markdown_text(plain_cell(cell))
        text = f"**{text}**" if cell.best else f"{text} †" if cell.tie else text
        # Pipe tables have no spanning cells: what holds for all columns stands in each.
        cells += [text] * cell.span
    return f"| {' | '.join(cells)} |"


def markdown(table: Table) -> str:
    """``table`` as a Markdown section: heading, pipe table, caption, notes."""
    header = list(table.header)
    if table.groups:
        titles = [title for title, span in table.groups for _ in range(span)]
        header = [f"{title}, {name}" if title else name for title, name in zip(titles, header, strict=True)]
    lines = [
        f"### {markdown_text(table.title)}",
        "",
        f"| {' | '.join(markdown_text(name) for name in (table.stub, *header))} |",
        f"|:--{('|:--' if table.words else '|--:') * len(header)}|",
        *(_markdown_row(row, reference=False) for row in table.body),
    ]
    if table.references:
        lines.append(f"| **{markdown_text(table.apart)}** |{' |' * len(header)}")
        lines += [_markdown_row(row, reference=True) for row in table.references]
    lines += ["", markdown_text(table.caption), ""]
    lines += [f"- {markdown_text(note)}" for note in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def _latex_cell(cell: Cell) -> str:
    text = latex_text(cell.text)
    if cell.best:
        text = rf"\textbf{{{text}}}"
    if cell.ci:
        text += rf" $\pm$ {latex_text(cell.ci)}"
    if cell.n:
        text += f" ({latex_text(cell.n)})"
    if cell.tie:
        text += r"\textsuperscript{\textdagger}"
    return text if cell.span == 1 else rf"\multicolumn{{{cell.span}}}{{c}}{{{text}}}"


def _latex_row(row: Row) -> str:
    return " & ".join([latex_text(row.title), *map(_latex_cell, row.cells)]) + r" \\"


def latex(table: Table) -> str:
    r"""``table`` as a LaTeX float; needs ``\usepackage{booktabs}`` and an engine or input encoding of UTF-8."""
    wide = len(table.header) > 5
    lines = [
        r"% needs \usepackage{booktabs,graphicx}" if wide else r"% needs \usepackage{booktabs}",
        r"\begin{table}[htbp]",
        r"  \centering",
        rf"  \caption{{{latex_text(table.title)}. {latex_text(table.caption)}}}",
        rf"  \label{{tab:{''.join(c if c.isascii() and c.isalnum() else '-' for c in table.name)}}}",
        *([r"  \resizebox{\linewidth}{!}{%"] if wide else []),
        rf"  \begin{{tabular}}{{l{('l' if table.words else 'r') * len(table.header)}}}",
        r"    \toprule",
    ]
    if table.groups:
        titles, rules, column = [""], [], 2
        for title, span in table.groups:
            titles.append(rf"\multicolumn{{{span}}}{{c}}{{{latex_text(title)}}}")
            if title:
                rules.append(rf"\cmidrule(lr){{{column}-{column + span - 1}}}")
            column += span
        lines += [f"    {' & '.join(titles)} \\\\", f"    {' '.join(rules)}"]
    lines += [f"    {' & '.join(map(latex_text, (table.stub, *table.header)))} \\\\", r"    \midrule"]
    lines += [f"    {_latex_row(row)}" for row in table.body]
    if table.references:
        lines += [r"    \midrule", *(f"    {_latex_row(row)}" for row in table.references)]
    lines += [r"    \bottomrule", r"  \end{tabular}" + ("}" if wide else "")]
    if table.notes:
        notes = r" \\ ".join(map(latex_text, table.notes))
        lines.append(rf"  \par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"
