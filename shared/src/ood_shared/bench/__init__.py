"""`ood-bench`: every method on the same data with the same metrics, as processes that leave files.

Module by module: `command` is the command line, `comparison` a comparison from its flags to its report. `methods` finds the
packages; `jobs` is one method with one seed, `processes` runs it, with a `guard` for the time after a kill, and `locks`
keeps its folder. `launchers` starts the jobs: here, with `isolated` in environments of their own, with `slurm` (`slurm_job`
on the nodes, `slurm_queue` for the cluster's words) on a cluster. `summary` and `leaderboard` bring results together,
`conclusion` writes them, `page` makes the report. `schema` is what a package leaves in its folder; it rests on `fields`, the form of the files. For the packages' side of the contract there are `flags`, and
`material`, the images that the flags name.
"""
