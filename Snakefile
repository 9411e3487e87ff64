from snakemake.utils import min_version

min_version("9.0")


# An experiment is one YAML file; `--configfile FILE` names another than the default one.
if not workflow.overwrite_configfiles:

    configfile: "workflow/experiments/default.yaml"


# Jobs run in the environment that Snakemake itself runs in (`make env`); no image with the project's packages is published,
# and this line only names the Python that an image would start from.
container: "docker://python:3.11"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/scheduling.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/students.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        PAGE,


onstart:
    if (
        MAIN
        and workflow.local_exec
        and PLAN.experiment["config"]["device"] == "cuda"
        and not may_have_gpu()
    ):
        raise WorkflowError(
            f"{SOURCE}: device: 'cuda' was asked for and this machine has no GPU; use 'auto' or 'cpu', or the profile of"
            " a cluster that has"
        )
    if missing := without_limits(getattr(workflow, "scheduler", None)):
        logger.warning(missing)


onsuccess:
    print(f"\nThe report: {Path(PAGE).resolve()}")


onerror:
    # On a full disk a job cannot write into its log what ended it.
    if MAIN and (free := shutil.disk_usage(ROOT).free) < FULL_BYTES:
        print(
            f"\n{ROOT}: No space left on device ({free / 2**20:.1f} MB are free). Make room and give the same command again:"
            " what was finished is kept."
        )
