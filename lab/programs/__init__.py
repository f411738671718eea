"""Programs that a scenario runs as they are, on hosts with pyverbs: `python3 -m lab.programs.X`"""
