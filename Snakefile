from snakemake.utils import min_version

min_version("9.0")


# An experiment is one YAML file; `--configfile FILE` names another than the default one.
if "problems" not in config:

    configfile: "workflow/experiments/default.yaml"


# The environment is the project's own (`make env`); this line is for those who prefer to run in a container.
container: "docker://python:3.11"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/students.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        PAGE,


onsuccess:
    print(f"\nThe report: {Path(PAGE).resolve()}")
