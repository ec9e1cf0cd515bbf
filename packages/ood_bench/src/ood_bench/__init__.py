"""`ood-bench`: every method on the same data with the same metrics, as processes that leave files.

Module by module: `command` is the command line, `comparison` a comparison from its flags to its report. `methods` finds
the packages; `jobs` is one method with one seed, `processes` runs it, with a `guard` for the time after a kill, and
`locks` keeps its folder. `launchers` starts the jobs: here, in environments of their own with `isolated`, or on a
cluster with `slurm`, `slurm_job` on its nodes and `slurm_queue` for its own words. `summary` and `leaderboard` bring
results together, `page` with `tables` shows them, `conclusion` writes it all down. `baselines` are plain detectors to
compare with.

The packages' side of the contract is `ood_shared.contract`, and `ood_shared.results` what they leave.
"""
