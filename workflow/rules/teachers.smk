rule teacher:
    input:
        unpack(states),
        config=f"{ROOT}/plan/{{problem}}/teacher.json",
        loss=loss_files,
        imported=teacher_files,
    output:
        weights=f"{ROOT}/{{problem}}/teacher/weights.safetensors",
        curve=f"{ROOT}/{{problem}}/teacher/curve.csv",
        averages=f"{ROOT}/{{problem}}/teacher/averages.safetensors",
        record=f"{ROOT}/{{problem}}/teacher/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/teacher.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/teacher.tsv"
    # Teachers first: everything else waits for them.
    priority: 100
    threads: RANKS
    resources:
        gpu=RANKS,
        mem_mb=memory,
        runtime=training_minutes,
    params:
        made_of=made_of(
            TRAINING + modules("steps/teacher.py", "steps/imported.py"),
            f"{ROOT}/plan/{{problem}}/teacher.json",
            losses=loss_files,
            imported=teacher_files,
        ),
        images=images_argument,
        # Not an output: Snakemake removes those of a job that was interrupted.
        state=f"{ROOT}/{{problem}}/teacher/state",
    message:
        "Train the teacher of {wildcards.problem}"
    # exec: whoever is told to stop is the training itself, and not a shell that leaves it behind.
    shell:
        "exec python -m ttfm teacher --config {input.config} {params.images} --weights {output.weights} --curve {output.curve}"
        " --averages {output.averages} --record {output.record} --state {params.state} 2> {log}"


rule solution:
    input:
        unpack(states),
        config=f"{ROOT}/plan/{{problem}}/solution.json",
        teacher=rules.teacher.output.weights,
        teacher_record=rules.teacher.output.record,
        decoder=decoder_files,
    output:
        arrays=f"{ROOT}/{{problem}}/solution.npz",
        record=f"{ROOT}/{{problem}}/solution.json",
    log:
        f"{ROOT}/logs/{{problem}}/solution.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/solution.tsv"
    priority: 90
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=solving_minutes,
    params:
        made_of=made_of(
            BASE
            + MODEL
            + DATA
            + modules("evaluation/quantisation.py", "evaluation/checks.py", "steps/solution.py"),
            f"{ROOT}/plan/{{problem}}/solution.json",
            decoder=decoder_files,
        ),
        images=images_argument,
        spent=f"{ROOT}/{{problem}}/teacher/state",
    message:
        "Solve the fine ODE of {wildcards.problem}'s teacher"
    shell:
        "python -m ttfm solution --config {input.config} {params.images} --teacher {input.teacher}"
        " --spent {params.spent}"
        " --teacher-record {input.teacher_record} --out {output.arrays} --record {output.record} 2> {log}"


rule trajectories:
    input:
        unpack(states),
        config=f"{ROOT}/plan/{{problem}}/trajectories.json",
        teacher=rules.teacher.output.weights,
        teacher_record=rules.teacher.output.record,
    output:
        arrays=f"{ROOT}/{{problem}}/trajectories.npz",
        record=f"{ROOT}/{{problem}}/trajectories.json",
    log:
        f"{ROOT}/logs/{{problem}}/trajectories.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/trajectories.tsv"
    priority: 90
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=240,
    params:
        made_of=made_of(
            BASE + MODEL + DATA + modules("steps/trajectories.py"),
            f"{ROOT}/plan/{{problem}}/trajectories.json",
        ),
        images=images_argument,
    message:
        "Store trajectories of {wildcards.problem}'s teacher"
    shell:
        "python -m ttfm trajectories --config {input.config} {params.images} --teacher {input.teacher}"
        " --teacher-record {input.teacher_record} --out {output.arrays} --record {output.record} 2> {log}"


rule pairs:
    input:
        config=f"{ROOT}/plan/{{problem}}/trajectories.json",
        trajectories=rules.trajectories.output.arrays,
        trajectories_record=rules.trajectories.output.record,
    output:
        arrays=f"{ROOT}/{{problem}}/pairs.npz",
        record=f"{ROOT}/{{problem}}/pairs.json",
    log:
        f"{ROOT}/logs/{{problem}}/pairs.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/pairs.tsv"
    priority: 90
    threads: 1
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(
            BASE + modules("steps/pairs.py"),
            f"{ROOT}/plan/{{problem}}/trajectories.json",
        ),
    message:
        "Keep the ends of {wildcards.problem}'s trajectories"
    shell:
        "python -m ttfm pairs --config {input.config} --trajectories {input.trajectories}"
        " --trajectories-record {input.trajectories_record} --out {output.arrays} --record {output.record} 2> {log}"


rule schedules:
    input:
        unpack(states),
        config=f"{ROOT}/plan/{{problem}}/trajectories.json",
        teacher=rules.teacher.output.weights,
        trajectories=rules.trajectories.output.arrays,
        trajectories_record=rules.trajectories.output.record,
    output:
        arrays=f"{ROOT}/{{problem}}/schedules.npz",
        record=f"{ROOT}/{{problem}}/schedules.json",
    log:
        f"{ROOT}/logs/{{problem}}/schedules.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/schedules.tsv"
    priority: 90
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(
            BASE + MODEL + DATA + modules("steps/trajectories.py", "steps/schedules.py"),
            f"{ROOT}/plan/{{problem}}/trajectories.json",
        ),
        images=images_argument,
    message:
        "Find the best steps along {wildcards.problem}'s trajectories"
    shell:
        "python -m ttfm schedules --config {input.config} {params.images} --teacher {input.teacher}"
        " --trajectories {input.trajectories} --trajectories-record {input.trajectories_record}"
        " --out {output.arrays} --record {output.record} 2> {log}"


rule timing:
    input:
        unpack(states),
        unpack(timing_trajectories),
        config=f"{ROOT}/plan/{{problem}}/timing.json",
        teacher=rules.teacher.output.weights,
        loss=every_loss_file,
    output:
        times=f"{ROOT}/{{problem}}/timing.csv",
        record=f"{ROOT}/{{problem}}/timing.json",
    log:
        f"{ROOT}/logs/{{problem}}/timing.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/timing.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(
            TRAINING + modules("losses/fm.py", "steps/columns.py", "steps/timing.py"),
            f"{ROOT}/plan/{{problem}}/timing.json",
            losses=every_loss_file,
        ),
        images=images_argument,
        trajectories=arguments_of(timing_trajectories),
    message:
        "Time a training step of every loss on {wildcards.problem}"
    shell:
        "python -m ttfm timing --config {input.config} {params.images} --teacher {input.teacher} {params.trajectories}"
        " --out {output.times} --record {output.record} 2> {log}"
