rule student:
    input:
        unpack(states),
        unpack(student_start),
        config=f"{ROOT}/plan/{{problem}}/{{student}}/{{seed}}/student.json",
        teacher=rules.teacher.output.weights,
        teacher_record=rules.teacher.output.record,
        solution=rules.solution.output.arrays,
        solution_record=rules.solution.output.record,
        loss=loss_files,
    output:
        weights=f"{ROOT}/{{problem}}/{{student}}/{{seed}}/weights.safetensors",
        curve=f"{ROOT}/{{problem}}/{{student}}/{{seed}}/curve.csv",
        snapshots=f"{ROOT}/{{problem}}/{{student}}/{{seed}}/snapshots.safetensors",
        averages=f"{ROOT}/{{problem}}/{{student}}/{{seed}}/averages.safetensors",
        record=f"{ROOT}/{{problem}}/{{student}}/{{seed}}/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/{{student}}/{{seed}}/student.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/{{student}}/{{seed}}/student.tsv"
    # Long jobs before short ones, so that no core is idle at the end.
    priority: 10
    threads: RANKS
    resources:
        gpu=RANKS,
        mem_mb=8000,
        runtime=4320,
    params:
        made_of=made_of(
            TRAINING + modules("steps/student.py", "evaluation/paired.py", "evaluation/checks.py"),
            f"{ROOT}/plan/{{problem}}/{{student}}/{{seed}}/student.json",
            losses=loss_files,
        ),
        images=images_argument,
        start=arguments_of(student_start),
        # Not an output: Snakemake removes those of a job that was interrupted.
        state=f"{ROOT}/{{problem}}/{{student}}/{{seed}}/state",
    message:
        "Train {wildcards.student} on {wildcards.problem}, seed {wildcards.seed}"
    # exec: as of the teacher.
    shell:
        "exec python -m ttfm student --config {input.config} {params.images} --teacher {input.teacher}"
        " --teacher-record {input.teacher_record} --solution {input.solution}"
        " --solution-record {input.solution_record} {params.start} --weights {output.weights} --curve {output.curve}"
        " --snapshots {output.snapshots} --averages {output.averages} --record {output.record}"
        " --state {params.state} 2> {log}"
