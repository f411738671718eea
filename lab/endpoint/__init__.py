"""One end of a run as a process: `python -m lab.endpoint --config FILE.json`."""
