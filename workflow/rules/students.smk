# exec: as of the teacher.
TRAIN_STUDENT = (
    "exec python -m ttfm student --config {input.config} {params.images} --teacher {input.teacher}"
    " --teacher-record {input.teacher_record} --solution {input.solution}"
    " --solution-record {input.solution_record} {params.start} --weights {output.weights} --curve {output.curve}"
    " --snapshots {output.snapshots} --averages {output.averages} --record {output.record}"
    " --state {params.state} 2> {log}"
)


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
    wildcard_constraints:
        problem=SINGLY,
    # Long jobs before short ones, so that no core is idle at the end.
    priority: 10
    threads: RANKS
    resources:
        gpu=RANKS,
        mem_mb=memory,
        runtime=training_minutes,
    params:
        made_of=made_of(
            STUDENT_CODE,
            f"{ROOT}/plan/{{problem}}/{{student}}/{{seed}}/student.json",
            losses=loss_files,
        ),
        images=images_argument,
        start=arguments_of(student_start),
        # Not an output: Snakemake removes those of a job that was interrupted.
        state=f"{ROOT}/{{problem}}/{{student}}/{{seed}}/state",
    message:
        "Train {wildcards.student} on {wildcards.problem}, seed {wildcards.seed}"
    shell:
        TRAIN_STUDENT


# The seeds of a group in one process.
for group in GROUPS:

    rule:
        name:
            group_name(group)
        input:
            unpack(states),
            unpack(functools.partial(student_start, seeds=group)),
            config=each_of(group, f"{ROOT}/plan/{{problem}}/{{student}}/{{seed}}/student.json"),
            teacher=rules.teacher.output.weights,
            teacher_record=rules.teacher.output.record,
            solution=rules.solution.output.arrays,
            solution_record=rules.solution.output.record,
            loss=loss_files,
        output:
            weights=each_of(group, f"{ROOT}/{{problem}}/{{student}}/{{seed}}/weights.safetensors"),
            curve=each_of(group, f"{ROOT}/{{problem}}/{{student}}/{{seed}}/curve.csv"),
            snapshots=each_of(group, f"{ROOT}/{{problem}}/{{student}}/{{seed}}/snapshots.safetensors"),
            averages=each_of(group, f"{ROOT}/{{problem}}/{{student}}/{{seed}}/averages.safetensors"),
            record=each_of(group, f"{ROOT}/{{problem}}/{{student}}/{{seed}}/record.json"),
        log:
            f"{ROOT}/logs/{{problem}}/{{student}}/{group[0]}/student.log",
        benchmark:
            f"{ROOT}/benchmarks/{{problem}}/{{student}}/{group[0]}/student.tsv"
        wildcard_constraints:
            problem=POINTS,
        priority: 10
        threads: RANKS
        resources:
            gpu=RANKS,
            mem_mb=memory,
            runtime=training_minutes,
        params:
            made_of=made_of(
                STUDENT_CODE,
                f"{ROOT}/plan/{{problem}}/{{student}}/{{seed}}/student.json",
                seeds=group,
                losses=loss_files,
            ),
            images="",
            start=arguments_of(functools.partial(student_start, seeds=group)),
            state=each_of(group, f"{ROOT}/{{problem}}/{{student}}/{{seed}}/state"),
        message:
            f"Train {{wildcards.student}} on {{wildcards.problem}}, seeds {', '.join(map(str, group))}"
        shell:
            TRAIN_STUDENT
