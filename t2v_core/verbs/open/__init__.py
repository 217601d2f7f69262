"""What verbs do with an open model beside drawing: preparing its data, training, estimating, naming its licence."""
