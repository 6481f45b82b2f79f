"""What should run: FFmpeg's argv, unit names and properties, fingerprints, the plan, states. Pure: no I/O at all."""
