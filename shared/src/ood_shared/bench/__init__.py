"""`ood-bench`: every method on the same data with the same metrics, as processes that leave files.

Module by module: `schema` is what a package leaves in its folder, `methods` finds the packages, `processes` runs them,
`jobs` is one method with one seed, `summary` brings results together, `page` makes the report, `command` is the command
line. `schema` rests on `fields`, the form of the files. For the packages' side of the contract there are `flags`, and
`material`, the images that the flags name.
"""
