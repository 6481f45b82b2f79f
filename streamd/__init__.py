"""streamd: one live input, many outputs, each its own FFmpeg in its own systemd unit."""

__version__ = "0.1.0"
