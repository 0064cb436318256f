// Only names where the sources of QuickJS come from: its lock file has their digest.
