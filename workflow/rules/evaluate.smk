rule evaluate:
    input:
        unpack(kept_weights),
        config=f"{ROOT}/plan/{{problem}}/{{student}}/evaluate.json",
        student=each_seed(rules.student.output.weights),
        student_record=each_seed(rules.student.output.record),
        loss=loss_files,
        teacher=rules.teacher.output.weights,
        data=rules.data.output.arrays,
        solution=rules.solution.output.arrays,
    output:
        metrics=f"{ROOT}/{{problem}}/{{student}}/metrics.csv",
        samples=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/samples.npz"),
        snapshots=f"{ROOT}/{{problem}}/{{student}}/snapshots.csv",
        maps=f"{ROOT}/{{problem}}/{{student}}/maps.csv",
        record=f"{ROOT}/{{problem}}/{{student}}/evaluation.json",
    log:
        f"{ROOT}/logs/{{problem}}/{{student}}/evaluate.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/{{student}}/evaluate.tsv"
    wildcard_constraints:
        problem=POINTS,
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=sampling_minutes,
    params:
        made_of=made_of(
            DESCRIBING + modules("steps/columns.py", "steps/evaluate.py"),
            f"{ROOT}/plan/{{problem}}/{{student}}/evaluate.json",
            losses=loss_files,
        ),
        kept=arguments_of(kept_weights),
        spent=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/state"),
    message:
        "Score {wildcards.student} on {wildcards.problem}"
    shell:
        "python -m ttfm evaluate --config {input.config} --student {input.student}"
        " --student-record {input.student_record} --spent {params.spent} {params.kept} --teacher {input.teacher}"
        " --data {input.data}"
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
        mem_mb=memory,
        runtime=sampling_minutes,
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
