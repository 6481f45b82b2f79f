"""streamctl, the command line client."""
