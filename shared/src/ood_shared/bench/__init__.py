"""`ood-bench`: every method on the same data with the same metrics, as processes that leave files.

Module by module: `command` is the command line, `comparison` a comparison from its flags to its report. `methods` finds
the packages; `jobs` is one method with one seed, `processes` runs it, with a `guard` for the time after a kill, and
`locks` keeps its folder. `launchers` starts the jobs: here, in environments of their own with `isolated`, or on a
cluster with `slurm`, `slurm_job` on its nodes and `slurm_queue` for its own words. `summary` and `leaderboard` bring
results together, `page` with `tables` and `pictures` shows them, `conclusion` writes it all down.

For the packages' side of the contract there are `flags`; `material`, the images that the flags name; `common`, the
training that all classifiers share; and `schema`, what a package leaves in its folder, with `fields`, the files' form.
"""
