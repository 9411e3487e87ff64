CATALOGUE = modules("evaluation/catalogue.py", "evaluation/metric.py", "evaluation/image_metrics.py")
REPORTING = BASE + CATALOGUE + modules("reporting/*.*", "reporting/figures/*.py")
# An edit to a plot draws figures again and writes the page that shows them, and leaves tables as they are.
DRAWING = [name for name in REPORTING if Path(name).name.partition(".")[0] not in PAGE_ALONE]
TABULATING = [name for name in DRAWING if not {Path(name).stem, Path(name).parent.name} & {*PICTURES}]
TABLES = [name for name in table_files(PROBLEMS) if name != "summary.csv"]


rule collect:
    input:
        config=EXPERIMENT,
        teachers=problems("{problem}/teacher/record.json") + problems("{problem}/teacher/curve.csv"),
        baselines=problems("{problem}/baselines/metrics.csv"),
        metrics=students("{problem}/{student}/metrics.csv"),
        neighbours=neighbours("metrics.csv"),
        records=runs("{problem}/{student}/{seed}/record.json"),
        curves=runs("{problem}/{student}/{seed}/curve.csv"),
        snapshots=students("{problem}/{student}/snapshots.csv"),
        maps=students("{problem}/{student}/maps.csv"),
        timing=problems("{problem}/timing.csv"),
    output:
        metrics=report(
            f"{ROOT}/metrics.csv",
            caption="../report/metrics.rst",
            category="Tables",
            labels={"table": "every measurement"},
        ),
        costs=f"{ROOT}/costs.csv",
        curves=f"{ROOT}/curves.csv",
        snapshots=f"{ROOT}/snapshots.csv",
        maps=f"{ROOT}/maps.csv",
        timing=f"{ROOT}/timing.csv",
        record=f"{ROOT}/collected.json",
    log:
        f"{ROOT}/logs/collect.log",
    benchmark:
        f"{ROOT}/benchmarks/collect.tsv"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(BASE + modules("steps/columns.py", "steps/collect.py"), EXPERIMENT),
    message:
        "Collect all measurements"
    shell:
        "python -m ttfm collect --config {input.config} --record {output.record} 2> {log}"


rule tables:
    input:
        rules.collect.output,
        config=EXPERIMENT,
    output:
        report(
            f"{ROOT}/tables/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary"},
        ),
        record=f"{ROOT}/tables/record.json",
        others=expand(f"{ROOT}/tables/{{table}}", table=TABLES),
    log:
        f"{ROOT}/logs/tables.log",
    benchmark:
        f"{ROOT}/benchmarks/tables.tsv"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(TABULATING + modules("steps/tables.py"), EXPERIMENT),
    message:
        "Write the tables"
    shell:
        "python -m ttfm tables --config {input.config} --record {output.record} 2> {log}"


rule figures:
    input:
        rules.collect.output,
        [f"{ROOT}/{problem}/data.npz" for problem, about in PROBLEMS.items() if about["kind"] == "points"],
        problems("{problem}/solution.npz"),
        neighbours("shown.npz"),
        problems("{problem}/teacher_euler/0/samples.npz"),
        runs("{problem}/{student}/{seed}/samples.npz"),
        config=EXPERIMENT,
    output:
        record=f"{ROOT}/figures/record.json",
        svg=expand(f"{ROOT}/figures/{{figure}}.svg", figure=FIGURES),
        png=[
            report(
                f"{ROOT}/figures/{figure}.png",
                caption="../report/figure.rst",
                category="Figures",
                subcategory=figure.split("--")[0],
                labels={"figure": figure.split("--")[-1]},
            )
            for figure in FIGURES
        ],
    log:
        f"{ROOT}/logs/figures.log",
    benchmark:
        f"{ROOT}/benchmarks/figures.tsv"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(DRAWING + modules("steps/figures.py"), EXPERIMENT),
    message:
        "Draw the figures"
    shell:
        "python -m ttfm figures --config {input.config} --record {output.record} 2> {log}"


rule page:
    input:
        rules.collect.output,
        rules.figures.output,
        tables=rules.tables.output,
        config=EXPERIMENT,
    output:
        page=PAGE,
        record=f"report/{NAME}/record.json",
    log:
        f"{ROOT}/logs/page.log",
    benchmark:
        f"{ROOT}/benchmarks/page.tsv"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(REPORTING + modules("steps/report.py"), EXPERIMENT),
    message:
        "Write the page"
    shell:
        "python -m ttfm report --config {input.config} --out {output.page} --record {output.record} 2> {log}"
