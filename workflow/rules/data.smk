rule images:
    input:
        config=f"{ROOT}/plan/{{problem}}/images.json",
        code=BASE + READERS + modules("data/arrays.py", "registry.py", "steps/images.py"),
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
    params:
        folder=subpath(output.about, parent=True),
    message:
        "Read the images of {wildcards.problem}"
    shell:
        "python -m ttfm images --config {input.config} --out {params.folder} --record {output.record} 2> {log}"


rule data:
    input:
        unpack(image_set),
        config=f"{ROOT}/plan/{{problem}}/data.json",
        code=BASE + DATA + modules("steps/data.py"),
    output:
        arrays=f"{ROOT}/{{problem}}/data.npz",
        record=f"{ROOT}/{{problem}}/data.json",
    log:
        f"{ROOT}/logs/{{problem}}/data.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/data.tsv"
    threads: 1
    params:
        images=images_argument,
    message:
        "Reference and floor sets of {wildcards.problem}"
    shell:
        "python -m ttfm data --config {input.config} {params.images} --out {output.arrays} --record {output.record} 2> {log}"


rule classifier:
    input:
        unpack(image_set),
        config=f"{ROOT}/plan/{{problem}}/classifier.json",
        code=BASE + modules("data/arrays.py", "evaluation/classifier.py", "steps/classifier.py"),
    output:
        weights=f"{ROOT}/{{problem}}/classifier/weights.safetensors",
        record=f"{ROOT}/{{problem}}/classifier/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/classifier.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/classifier.tsv"
    threads: 1
    params:
        images=images_argument,
    message:
        "Train the digit classifier"
    shell:
        "python -m ttfm classifier --config {input.config} {params.images} --weights {output.weights}"
        " --record {output.record} 2> {log}"


rule lpips_trunk:
    input:
        config=f"{ROOT}/plan/lpips-trunk.json",
        code=BASE + modules("evaluation/weights.py", "steps/lpips_trunk.py"),
    output:
        weights=f"{ROOT}/weights/lpips-squeeze.safetensors",
        record=f"{ROOT}/weights/lpips-squeeze.json",
    log:
        f"{ROOT}/logs/lpips-trunk.log",
    benchmark:
        f"{ROOT}/benchmarks/lpips-trunk.tsv"
    threads: 1
    message:
        "Find the trunk of LPIPS"
    shell:
        "python -m ttfm lpips-trunk --config {input.config} --weights {output.weights}"
        " --record {output.record} 2> {log}"
