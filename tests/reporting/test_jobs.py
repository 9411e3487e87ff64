import pytest

from ttfm.reporting.jobs import job_costs, training_share

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def job(folder, place, cpu, memory="300.0"):
    path = folder / "benchmarks" / f"{place}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + f"9.0\t0:00:09\t{memory}\t1\t1\t1\t0\t0\t90\t{cpu}\n")


def test_cpu_time_is_summed_by_step_and_the_reports_own_is_left_out(tmp_path):
    job(tmp_path, "ring/teacher", 10.0)
    job(tmp_path, "ring/itvm/0/student", 50.0, memory="900.0")
    job(tmp_path, "ring/itvm/1/student", 20.0)
    job(tmp_path, "ring/itvm/0/evaluate", 20.0)
    job(tmp_path, "ring/data", "NA", memory="-")
    job(tmp_path, "figures", 500.0)
    costs = job_costs(tmp_path)
    assert [(row["step"], row["jobs"], row["cpu_seconds"]) for row in costs] == [
        ("student", 2, 70.0),
        ("evaluate", 1, 20.0),
        ("teacher", 1, 10.0),
        ("data", 1, 0.0),
    ]
    assert costs[0]["peak_memory_mb"] == 900.0
    assert training_share(costs) == pytest.approx(0.8)


def test_without_snakemake_there_is_nothing_to_tell(tmp_path):
    assert job_costs(tmp_path) == [] and training_share([]) == 0
