"""The same workloads on other engines, each in its own environment, and the ratios of interleaved rounds."""
