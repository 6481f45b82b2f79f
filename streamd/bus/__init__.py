"""The D-Bus service, its introspection XML, the polkit gate, and the client."""
