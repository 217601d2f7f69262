"""Jobs on a host, or here in the foreground: submit, follow, stop; and every step of a launch."""
