# Images are scored from files: samples -> features -> metrics, beside the reference of every network.


rule sample:
    input:
        unpack(states),
        unpack(kept_weights),
        config=f"{ROOT}/plan/{{problem}}/{{student}}/evaluate.json",
        student=each_seed(rules.student.output.weights),
        student_record=each_seed(rules.student.output.record),
        loss=loss_files,
        teacher=rules.teacher.output.weights,
        solution=rules.solution.output.arrays,
        decoder=decoder_files,
    output:
        pixels=large(each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/images.npy")),
        index=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/images.json"),
        samples=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/samples.npz"),
        described=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/described.csv"),
        maps=f"{ROOT}/{{problem}}/{{student}}/maps.csv",
        record=f"{ROOT}/{{problem}}/{{student}}/evaluation.json",
    log:
        f"{ROOT}/logs/{{problem}}/{{student}}/sample.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/{{student}}/sample.tsv"
    wildcard_constraints:
        problem=IMAGES,
    # Before more is trained: files of images and features are deleted once they are scored.
    priority: 12
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=sampling_minutes,
    params:
        made_of=made_of(
            DESCRIBING + modules("steps/columns.py", "steps/sample.py"),
            f"{ROOT}/plan/{{problem}}/{{student}}/evaluate.json",
            losses=loss_files,
            decoder=decoder_files,
        ),
        images=images_argument,
        kept=arguments_of(kept_weights),
        spent=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/state"),
    message:
        "Sample {wildcards.student} on {wildcards.problem}"
    shell:
        "python -m ttfm sample --config {input.config} {params.images} --student {input.student}"
        " --student-record {input.student_record} --spent {params.spent} {params.kept} --teacher {input.teacher}"
        " --solution {input.solution} --pixels {output.pixels} --index {output.index} --samples {output.samples}"
        " --described {output.described} --maps {output.maps} --record {output.record} 2> {log}"


rule sample_baselines:
    input:
        unpack(states),
        config=f"{ROOT}/plan/{{problem}}/baselines.json",
        teacher=rules.teacher.output.weights,
        solution=rules.solution.output.arrays,
        solution_record=rules.solution.output.record,
        decoder=decoder_files,
    output:
        pixels=large(f"{ROOT}/{{problem}}/baselines/images.npy"),
        index=f"{ROOT}/{{problem}}/baselines/images.json",
        samples=f"{ROOT}/{{problem}}/teacher_euler/0/samples.npz",
        described=f"{ROOT}/{{problem}}/baselines/described.csv",
        record=f"{ROOT}/{{problem}}/baselines/sampled.json",
    log:
        f"{ROOT}/logs/{{problem}}/sample-baselines.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/sample-baselines.tsv"
    wildcard_constraints:
        problem=IMAGES,
    priority: 12
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=sampling_minutes,
    params:
        made_of=made_of(
            DESCRIBING + modules("steps/columns.py", "steps/sample.py", "steps/sample_baselines.py"),
            f"{ROOT}/plan/{{problem}}/baselines.json",
            decoder=decoder_files,
        ),
        images=images_argument,
    message:
        "Sample the teacher of {wildcards.problem}"
    shell:
        "python -m ttfm sample-baselines --config {input.config} {params.images} --teacher {input.teacher}"
        " --solution {input.solution} --solution-record {input.solution_record} --pixels {output.pixels}"
        " --index {output.index} --samples {output.samples} --described {output.described}"
        " --record {output.record} 2> {log}"


rule features:
    input:
        unpack(network_weights),
        config=f"{ROOT}/plan/{{problem}}/features.json",
        pixels=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/images.npy"),
        index=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/images.json"),
    output:
        features=large(each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/features/{{network}}.npy")),
        about=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/features/{{network}}.json"),
        record=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/features/{{network}}-record.json"),
    log:
        f"{ROOT}/logs/{{problem}}/{{student}}/features-{{network}}.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/{{student}}/features-{{network}}.tsv"
    wildcard_constraints:
        problem=IMAGES,
    priority: 14
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=scoring_minutes,
    params:
        made_of=made_of(FEATURES + modules("steps/features.py"), f"{ROOT}/plan/{{problem}}/features.json"),
    message:
        "Images of {wildcards.student} on {wildcards.problem} as {wildcards.network} sees them"
    shell:
        "python -m ttfm features --config {input.config} --extractor {wildcards.network} --weights {input.weights}"
        " --weights-record {input.weights_record} --images {input.pixels} --index {input.index}"
        " --out {output.features} --about {output.about} --record {output.record} 2> {log}"


rule features_baselines:
    input:
        unpack(network_weights),
        config=f"{ROOT}/plan/{{problem}}/features.json",
        pixels=f"{ROOT}/{{problem}}/baselines/images.npy",
        index=f"{ROOT}/{{problem}}/baselines/images.json",
    output:
        features=large(f"{ROOT}/{{problem}}/baselines/features/{{network}}.npy"),
        about=f"{ROOT}/{{problem}}/baselines/features/{{network}}.json",
        record=f"{ROOT}/{{problem}}/baselines/features/{{network}}-record.json",
    log:
        f"{ROOT}/logs/{{problem}}/features-baselines-{{network}}.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/baselines/features-{{network}}.tsv"
    wildcard_constraints:
        problem=IMAGES,
    priority: 14
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=scoring_minutes,
    params:
        made_of=made_of(FEATURES + modules("steps/features.py"), f"{ROOT}/plan/{{problem}}/features.json"),
    message:
        "The references of {wildcards.problem} as {wildcards.network} sees them"
    shell:
        "python -m ttfm features --config {input.config} --extractor {wildcards.network} --weights {input.weights}"
        " --weights-record {input.weights_record} --images {input.pixels} --index {input.index}"
        " --out {output.features} --about {output.about} --record {output.record} 2> {log}"


rule score:
    input:
        config=f"{ROOT}/plan/{{problem}}/score.json",
        pixels=rules.sample.output.pixels,
        index=rules.sample.output.index,
        described=rules.sample.output.described,
        solution=rules.solution.output.arrays,
        scored=scoring_files(*each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}")),
    output:
        metrics=f"{ROOT}/{{problem}}/{{student}}/metrics.csv",
        snapshots=f"{ROOT}/{{problem}}/{{student}}/snapshots.csv",
        record=f"{ROOT}/{{problem}}/{{student}}/scored.json",
    log:
        f"{ROOT}/logs/{{problem}}/{{student}}/score.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/{{student}}/score.tsv"
    wildcard_constraints:
        problem=IMAGES,
    priority: 16
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=scoring_minutes,
    params:
        made_of=made_of(
            SCORING + modules("steps/columns.py", "steps/score.py"), f"{ROOT}/plan/{{problem}}/score.json"
        ),
        features=each_seed(f"{ROOT}/{{problem}}/{{student}}/{{seed}}/features"),
        reference=f"{ROOT}/{{problem}}/reference",
        weights=f"{ROOT}/weights",
    message:
        "Score {wildcards.student} on {wildcards.problem}"
    shell:
        "python -m ttfm score --config {input.config} --pixels {input.pixels} --index {input.index}"
        " --solution {input.solution} --described {input.described} --features {params.features}"
        " --reference {params.reference} --weights {params.weights} --metrics {output.metrics}"
        " --snapshot-metrics {output.snapshots} --record {output.record} 2> {log}"


rule score_baselines:
    input:
        config=f"{ROOT}/plan/{{problem}}/score.json",
        pixels=rules.sample_baselines.output.pixels,
        index=rules.sample_baselines.output.index,
        described=rules.sample_baselines.output.described,
        solution=rules.solution.output.arrays,
        scored=scoring_files(f"{ROOT}/{{problem}}/baselines"),
    output:
        metrics=f"{ROOT}/{{problem}}/baselines/metrics.csv",
        record=f"{ROOT}/{{problem}}/baselines/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/score-baselines.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/score-baselines.tsv"
    wildcard_constraints:
        problem=IMAGES,
    priority: 16
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=scoring_minutes,
    params:
        made_of=made_of(
            SCORING + modules("steps/columns.py", "steps/score.py"), f"{ROOT}/plan/{{problem}}/score.json"
        ),
        features=f"{ROOT}/{{problem}}/baselines/features",
        reference=f"{ROOT}/{{problem}}/reference",
        weights=f"{ROOT}/weights",
    message:
        "Score the references of {wildcards.problem}"
    shell:
        "python -m ttfm score --config {input.config} --pixels {input.pixels} --index {input.index} --floor"
        " --solution {input.solution} --described {input.described} --features {params.features}"
        " --reference {params.reference} --weights {params.weights} --metrics {output.metrics}"
        " --record {output.record} 2> {log}"


rule neighbours:
    input:
        unpack(image_set),
        config=f"{ROOT}/plan/{{problem}}/neighbours.json",
        sets=generated_sets,
    output:
        metrics=f"{ROOT}/{{problem}}/neighbours/metrics.csv",
        shown=f"{ROOT}/{{problem}}/neighbours/shown.npz",
        record=f"{ROOT}/{{problem}}/neighbours/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/neighbours.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/neighbours.tsv"
    wildcard_constraints:
        problem=IMAGES,
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=120,
    params:
        made_of=made_of(
            BASE
            + modules(
                "data/arrays.py",
                "evaluation/neighbours.py",
                "evaluation/quantisation.py",
                "evaluation/sample_sets.py",
                "steps/columns.py",
                "steps/neighbours.py",
                "steps/scoring.py",
            ),
            f"{ROOT}/plan/{{problem}}/neighbours.json",
        ),
        images=images_argument,
        sets=set_arguments,
    message:
        "Look up images of {wildcards.problem} among the training images"
    shell:
        "python -m ttfm neighbours --config {input.config} {params.images} {params.sets}"
        " --metrics {output.metrics} --shown {output.shown} --record {output.record} 2> {log}"
