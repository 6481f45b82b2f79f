"""The appliance harness: builds a Debian with streamd in it, boots it, runs the tests, leaves nothing behind."""
