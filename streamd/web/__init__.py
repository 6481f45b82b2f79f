"""streamd-web: REST, live updates and the dashboard over HTTP; a client of org.streamd1 and of nothing else."""
