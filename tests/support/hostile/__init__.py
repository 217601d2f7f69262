"""Inputs that nobody should believe: files, names, values, answers of a host."""
