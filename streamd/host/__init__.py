"""The machine: conf.d and its watcher, systemd, journal, sd_notify, credentials, ports."""
