rule evaluate:
    input:
        config=each_seed(f"{ROOT}/plan/{{problem}}/{{student}}/{{seed}}/evaluate.json"),
        student=each_seed(rules.student.output.weights),
        student_record=each_seed(rules.student.output.record),
        snapshots=each_seed(rules.student.output.snapshots),
        loss=loss_files,
        teacher=rules.teacher.output.weights,
        data=rules.data.output.arrays,
        solution=rules.solution.output.arrays,
    output:
        metrics=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/metrics.csv"),
        samples=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/samples.npz"),
        snapshots=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/snapshots.csv"),
        maps=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/maps.csv"),
        record=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/evaluation.json"),
    log:
        f"{ROOT}/logs/{{problem}}/{{student}}/evaluate.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/{{student}}/evaluate.tsv"
    wildcard_constraints:
        problem=POINTS,
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=60,
    params:
        made_of=made_of(
            DESCRIBING + modules("steps/columns.py", "steps/evaluate.py"),
            f"{ROOT}/plan/{{problem}}/{{student}}/{{seed}}/evaluate.json",
            losses=loss_files,
        ),
    message:
        "Score {wildcards.student} on {wildcards.problem}"
    shell:
        "python -m ttfm evaluate --config {input.config} --student {input.student}"
        " --student-record {input.student_record} --snapshots {input.snapshots} --teacher {input.teacher} --data {input.data}"
        " --solution {input.solution} --metrics {output.metrics} --samples {output.samples}"
        " --snapshot-metrics {output.snapshots} --maps {output.maps} --record {output.record} 2> {log}"


rule baselines:
    input:
        config=f"{ROOT}/plan/{{problem}}/baselines.json",
        teacher=rules.teacher.output.weights,
        data=rules.data.output.arrays,
        solution=rules.solution.output.arrays,
        solution_record=rules.solution.output.record,
    output:
        metrics=f"{ROOT}/{{problem}}/baselines/metrics.csv",
        samples=f"{ROOT}/{{problem}}/teacher_euler/0/samples.npz",
        record=f"{ROOT}/{{problem}}/baselines/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/baselines.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/baselines.tsv"
    wildcard_constraints:
        problem=POINTS,
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=60,
    params:
        made_of=made_of(
            DESCRIBING + modules("steps/columns.py", "steps/baselines.py"),
            f"{ROOT}/plan/{{problem}}/baselines.json",
        ),
    message:
        "Score the references of {wildcards.problem}"
    shell:
        "python -m ttfm baselines --config {input.config} --teacher {input.teacher} --data {input.data}"
        " --solution {input.solution} --solution-record {input.solution_record}"
        " --metrics {output.metrics} --samples {output.samples} --record {output.record} 2> {log}"
