rule images:
    input:
        config=f"{ROOT}/plan/{{problem}}/images.json",
        # Another content once the folder that the images were read from holds something else.
        watched=f"{ROOT}/plan/{{problem}}/images-watched.json",
    # The arrays of labels, which some sets do not have, lie beside these undeclared. about.json is written last and holds
    # every file's sha256: Snakemake deletes it before a job starts again, and a job killed on its way leaves none, so
    # that arrays of two attempts are never taken for one set.
    output:
        about=f"{ROOT}/{{problem}}/images/about.json",
        train=f"{ROOT}/{{problem}}/images/train-images.npy",
        test=f"{ROOT}/{{problem}}/images/test-images.npy",
        record=f"{ROOT}/{{problem}}/images/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/images.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/images.tsv"
    # All of a problem of images waits for them.
    priority: 110
    threads: 1
    resources:
        mem_mb=memory,
        runtime=240,
    params:
        made_of=made_of(
            BASE + READERS + modules("data/arrays.py", "registry.py", "steps/images.py"),
            f"{ROOT}/plan/{{problem}}/images.json",
        ),
        folder=subpath(output.about, parent=True),
    message:
        "Read the images of {wildcards.problem}"
    shell:
        "python -m ttfm images --config {input.config} --out {params.folder} --record {output.record} 2> {log}"


rule latents:
    input:
        unpack(image_set),
        config=f"{ROOT}/plan/{{problem}}/latents.json",
        # As of images: of the folder that holds the autoencoder.
        watched=f"{ROOT}/plan/{{problem}}/latents-watched.json",
    # As of images: labels, where there are any, lie beside, and about.json is written last.
    output:
        about=f"{ROOT}/{{problem}}/latents/about.json",
        train=f"{ROOT}/{{problem}}/latents/train-latents.npy",
        reconstructed=f"{ROOT}/{{problem}}/latents/test-reconstructed.npy",
        autoencoder=f"{ROOT}/{{problem}}/latents/autoencoder.safetensors",
        record=f"{ROOT}/{{problem}}/latents/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/latents.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/latents.tsv"
    wildcard_constraints:
        problem=LATENT,
    priority: 105
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=240,
    params:
        made_of=made_of(
            BASE
            + modules(
                *("data/arrays.py", "data/latents.py", "evaluation/paired.py", "evaluation/quantisation.py"),
                *("latent/*.py", "steps/latents.py"),
            ),
            f"{ROOT}/plan/{{problem}}/latents.json",
        ),
        images=images_argument,
        folder=subpath(output.about, parent=True),
    message:
        "Encode the images of {wildcards.problem}"
    shell:
        "python -m ttfm latents --config {input.config} {params.images} --out {params.folder}"
        " --record {output.record} 2> {log}"


rule data:
    input:
        config=f"{ROOT}/plan/{{problem}}/data.json",
    output:
        arrays=f"{ROOT}/{{problem}}/data.npz",
        record=f"{ROOT}/{{problem}}/data.json",
    log:
        f"{ROOT}/logs/{{problem}}/data.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/data.tsv"
    wildcard_constraints:
        problem=POINTS,
    threads: 1
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(BASE + DATA + modules("steps/data.py"), f"{ROOT}/plan/{{problem}}/data.json"),
    message:
        "Reference and floor sets of {wildcards.problem}"
    shell:
        "python -m ttfm data --config {input.config} --out {output.arrays} --record {output.record} 2> {log}"


rule classifier:
    input:
        unpack(image_set),
        config=f"{ROOT}/plan/{{problem}}/classifier.json",
    output:
        weights=f"{ROOT}/{{problem}}/classifier/weights.safetensors",
        record=f"{ROOT}/{{problem}}/classifier/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/classifier.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/classifier.tsv"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=30,
    params:
        made_of=made_of(
            BASE + modules("data/arrays.py", "evaluation/classifier.py", "steps/classifier.py"),
            f"{ROOT}/plan/{{problem}}/classifier.json",
        ),
        images=images_argument,
    message:
        "Train the digit classifier"
    shell:
        "python -m ttfm classifier --config {input.config} {params.images} --weights {output.weights}"
        " --record {output.record} 2> {log}"


rule weights:
    input:
        config=f"{ROOT}/plan/weights/{{network}}.json",
        # Another content once weights that were not to be had lie where they are looked for.
        watched=f"{ROOT}/plan/weights/{{network}}-watched.json",
    output:
        weights=f"{ROOT}/weights/{{network}}.safetensors",
        record=f"{ROOT}/weights/{{network}}.json",
    log:
        f"{ROOT}/logs/weights/{{network}}.log",
    benchmark:
        f"{ROOT}/benchmarks/weights/{{network}}.tsv"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        made_of=made_of(
            BASE + modules("evaluation/weights.py", "steps/weights.py"),
            f"{ROOT}/plan/weights/{{network}}.json",
        ),
    message:
        "Find the weights of {wildcards.network}"
    shell:
        "python -m ttfm weights --config {input.config} --weights {output.weights}"
        " --record {output.record} 2> {log}"


rule reference:
    input:
        unpack(image_set),
        unpack(reconstructed_images),
        unpack(network_weights),
        config=f"{ROOT}/plan/{{problem}}/reference.json",
    output:
        arrays=f"{ROOT}/{{problem}}/reference/{{network}}.npz",
        record=f"{ROOT}/{{problem}}/reference/{{network}}.json",
    log:
        f"{ROOT}/logs/{{problem}}/reference/{{network}}.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/reference/{{network}}.tsv"
    wildcard_constraints:
        problem=IMAGES,
    # Early: that there are too few images for a metric is better known before anything is trained.
    priority: 80
    threads: 1
    resources:
        gpu=1,
        mem_mb=memory,
        runtime=240,
    params:
        made_of=made_of(
            FEATURES + modules("data/arrays.py", "evaluation/scores.py", "steps/reference.py"),
            f"{ROOT}/plan/{{problem}}/reference.json",
        ),
        images=images_argument,
        latents=reconstructed_argument,
    message:
        "Real images of {wildcards.problem} as {wildcards.network} sees them"
    shell:
        "python -m ttfm reference --config {input.config} {params.images} {params.latents}"
        " --extractor {wildcards.network}"
        " --weights {input.weights} --weights-record {input.weights_record} --out {output.arrays}"
        " --cache results/.reference --record {output.record} 2> {log}"
