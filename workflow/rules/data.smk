rule data:
    input:
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
    message:
        "Reference and floor sets of {wildcards.problem}"
    shell:
        "python -m ttfm data --config {input.config} --out {output.arrays} --record {output.record} 2> {log}"


rule classifier:
    input:
        config=f"{ROOT}/plan/{{problem}}/classifier.json",
        code=BASE + modules("data/digits.py", "evaluation/classifier.py", "steps/classifier.py"),
    output:
        weights=f"{ROOT}/{{problem}}/classifier/weights.safetensors",
        record=f"{ROOT}/{{problem}}/classifier/record.json",
    log:
        f"{ROOT}/logs/{{problem}}/classifier.log",
    benchmark:
        f"{ROOT}/benchmarks/{{problem}}/classifier.tsv"
    threads: 1
    message:
        "Train the digit classifier"
    shell:
        "python -m ttfm classifier --config {input.config} --weights {output.weights}"
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
