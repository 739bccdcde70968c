"""The main jobs, end to end on the embedded genome: what a newcomer runs first."""
