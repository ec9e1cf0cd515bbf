"""Where images lie: configs' image lists, samples in memory, views, the OOD suites, downloads."""
