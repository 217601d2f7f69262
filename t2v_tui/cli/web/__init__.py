"""`t2v web`: the page in a browser, of this machine or of a host."""
