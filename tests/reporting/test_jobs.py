import pytest

from ttfm.reporting.jobs import job_costs, training_share

EXPERIMENT = {"problems": {"ring": {"kind": "points", "seeds": [0, 1, 2]}}, "config": {}}
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def job(folder, place, seconds, memory="300.0"):
    path = folder / "benchmarks" / f"{place}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The CPU time lags behind: its last sample is up to 30 seconds old.
    path.write_text(HEADER + f"{seconds}\t0:00:09\t{memory}\t1\t1\t1\t0\t0\t90\t{seconds / 2}\n")


def test_time_is_summed_by_step_and_the_reports_own_is_left_out(tmp_path):
    job(tmp_path, "ring/teacher", 10.0)
    job(tmp_path, "ring/itvm/0/student", 50.0, memory="900.0")
    job(tmp_path, "ring/itvm/1/student", 20.0)
    job(tmp_path, "ring/itvm/0/evaluate", 20.0)
    job(tmp_path, "ring/data", 0.5, memory="-")
    job(tmp_path, "figures", 500.0)
    costs = job_costs(tmp_path, EXPERIMENT)
    assert [(row["step"], row["jobs"], row["seconds"]) for row in costs] == [
        ("student", 2, 70.0),
        ("evaluate", 1, 20.0),
        ("teacher", 1, 10.0),
        ("data", 1, 0.5),
    ]
    assert costs[0]["peak_memory_mb"] == 900.0
    assert training_share(costs) == pytest.approx(80 / 100.5, abs=1e-4)


def test_jobs_that_the_experiment_no_longer_has_are_left_out(tmp_path):
    for seed in range(4):
        job(tmp_path, f"ring/itvm/{seed}/student", 10.0)
    job(tmp_path, "gone/itvm/0/student", 10.0)
    assert [row["jobs"] for row in job_costs(tmp_path, EXPERIMENT)] == [3]
    together = EXPERIMENT | {"config": {"seeds_together": 2}}
    assert [row["jobs"] for row in job_costs(tmp_path, together)] == [2]


def test_without_snakemake_there_is_nothing_to_tell(tmp_path):
    assert job_costs(tmp_path, EXPERIMENT) == [] and training_share([]) == 0
